import { fromWireError, isJsonObject, isRpcError, RpcError } from '@mcp-blocks/core';
import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client';
import { type Delivery, TransportFailure } from './upstream.js';

/** Errors of Node's sockets and of undici that mean no byte of the request was sent. */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/**
 * Sorts what the SDK's client throws: an answer of the node becomes the `RpcError` it stands for,
 * everything else a {@link TransportFailure}. `phase` tells whether a request was under way, `hasSession`
 * whether in a legacy session.
 */
export function fromSdkError(error: unknown, phase: 'connecting' | 'requesting', hasSession = false): RpcError | TransportFailure {
  if (error instanceof TransportFailure) return error;
  if (hasSession && error instanceof SdkHttpError && isUnknownSession(error)) return new SessionLost(error);
  if (error instanceof ProtocolError) {
    return orRefusal(fromWireError({ code: error.code, message: error.message, data: error.data }));
  }
  if (isRpcError(error) && phase === 'requesting') return error;
  if (isRpcError(error)) {
    const refused = error.code === 'unauthenticated' || error.code === 'forbidden';
    return new TransportFailure(error.message, {
      delivery: 'not-sent',
      blamesNode: !refused,
      status: refused ? (error.code === 'unauthenticated' ? 401 : 403) : undefined,
      cause: error,
    });
  }
  if (error instanceof SdkError && phase === 'requesting') {
    if (error.code === SdkErrorCode.MethodNotSupportedByProtocolVersion) {
      return new RpcError('method_not_found', 'The node speaks a protocol revision without this method', { cause: error });
    }
    if (error.code === SdkErrorCode.InvalidResult || error.code === SdkErrorCode.UnsupportedResultType) {
      return new RpcError('upstream_error', 'The node answered with a result the protocol does not allow', { cause: error });
    }
  }
  const status = statusOf(error);
  // Whatever failed while connecting, the request itself was not sent.
  const delivery: Delivery = phase === 'connecting' || isNotSent(error) ? 'not-sent' : 'unknown';
  if (error instanceof SdkHttpError && status !== undefined) {
    const answered = phase === 'requesting' ? jsonRpcErrorIn(error) : undefined;
    if (answered !== undefined) return orRefusal(answered);
    return new TransportFailure(`The node answered with HTTP status ${status}`, {
      // A request refused by its headers, and one met by "service unavailable", was not carried out.
      delivery: (status >= 400 && status < 500) || status === 503 ? 'not-sent' : delivery,
      blamesNode: status >= 500,
      status,
      cause: error,
    });
  }
  return new TransportFailure(describe(error, phase), { delivery, cause: error });
}

/** The node does not accept our credentials: our affair, and none of the caller, whose own were accepted. */
function orRefusal(answer: RpcError): RpcError | TransportFailure {
  if (answer.code !== 'unauthenticated') return answer;
  return new TransportFailure("The node refused the cluster's credentials", {
    delivery: 'not-sent',
    blamesNode: false,
    status: 401,
    cause: answer,
  });
}

/** The node does not know the session any more (2025-11-25, "Session Management"): it was restarted, or has let it go. */
export class SessionLost extends TransportFailure {
  constructor(cause: unknown) {
    super('The node does not know the session any more', { delivery: 'not-sent', blamesNode: false, status: 404, cause });
  }
}

/** 404 by the specification; many servers say 400 with an error that belongs to no request. */
function isUnknownSession(error: SdkHttpError): boolean {
  const status = statusOf(error);
  if (status === 404) return true;
  const { text } = error.data as { text?: unknown };
  return status === 400 && typeof text === 'string' && /"id":\s*null/.test(text) && /session/i.test(text);
}

function statusOf(error: unknown): number | undefined {
  const data = (error as { data?: unknown } | undefined)?.data;
  return isJsonObject(data) && typeof data.status === 'number' ? data.status : undefined;
}

/** The SDK hands over JSON-RPC errors under other statuses than 200 and 400 as text. */
function jsonRpcErrorIn(error: SdkHttpError): RpcError | undefined {
  const text = (error.data as { text?: unknown } | undefined)?.text;
  if (typeof text !== 'string') return undefined;
  try {
    const body: unknown = JSON.parse(text);
    const inner = isJsonObject(body) && body.jsonrpc === '2.0' ? body.error : undefined;
    if (!isJsonObject(inner) || typeof inner.code !== 'number' || typeof inner.message !== 'string') return undefined;
    return fromWireError({ code: inner.code, message: inner.message, data: inner.data });
  } catch {
    return undefined;
  }
}

/** Looks through the causes: fetch wraps the socket's error, the SDK wraps fetch's. */
function isNotSent(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 5; current = current.cause, depth += 1) {
    if (NOT_SENT.has((current as NodeJS.ErrnoException).code ?? '')) return true;
    if (current instanceof AggregateError && current.errors.length > 0 && current.errors.every(isNotSent)) return true;
  }
  return false;
}

function describe(error: unknown, phase: 'connecting' | 'requesting'): string {
  const doing = phase === 'connecting' ? 'The node could not be reached' : 'The connection to the node was lost';
  return error instanceof Error ? `${doing}: ${error.message}` : doing;
}
