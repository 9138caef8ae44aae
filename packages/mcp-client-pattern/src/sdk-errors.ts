import { fromWireError, isJsonObject, isRpcError, RpcError } from '@mcp-blocks/core';
import {
  InsufficientScopeError,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  UnauthorizedError,
} from '@modelcontextprotocol/client';
import { ConnectionLostError } from './connection.js';
import type { Flight } from './observed-transport.js';

/** Failures to connect: no byte of the request left this machine's reach. */
const NEVER_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Statuses of a proxy in front of a server that is gone. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

/** Reads whatever the SDK's client threw for a request as one of our errors. */
export function readRequestError(error: unknown, flight: Flight, sessionId: string | undefined): RpcError | ConnectionLostError {
  if (error instanceof ConnectionLostError) return error;
  if (isRpcError(error)) {
    const gone = error === flight.sendError && error.code === 'unavailable';
    return gone ? new ConnectionLostError(error.message, flight.sent, error) : error;
  }
  if (ProtocolError.isInstance(error)) return fromWireError({ code: error.code, message: error.message, data: error.data });
  if (SdkHttpError.isInstance(error)) return readHttpError(error, flight, sessionId);
  const known = readAuthorizationError(error);
  if (known !== undefined) return known;
  if (SdkError.isInstance(error)) {
    switch (error.code) {
      case SdkErrorCode.ConnectionClosed:
      case SdkErrorCode.NotConnected:
      case SdkErrorCode.SendFailed:
        return new ConnectionLostError(error.message, flight.sent, error);
      case SdkErrorCode.MethodNotSupportedByProtocolVersion:
      case SdkErrorCode.CapabilityNotSupported:
        return new RpcError('method_not_found', error.message, { cause: error });
      case SdkErrorCode.InputRequiredRoundsExceeded:
        return new RpcError('cancelled', error.message, { data: { sent: true }, cause: error });
      default:
        return new RpcError('upstream_error', error.message, { cause: error });
    }
  }
  if (error === flight.sendError && error !== undefined)
    return new ConnectionLostError(messageOf(error), flight.sent && !neverConnected(error), error);
  if (!flight.sent) {
    // The SDK says "Not connected" with a plain Error when the transport closed before the send.
    return messageOf(error) === 'Not connected'
      ? new ConnectionLostError('The connection is closed', false, error)
      : new RpcError('invalid_request', messageOf(error), { cause: error });
  }
  return new RpcError('upstream_error', messageOf(error), { cause: error });
}

/** Reads a failure to open a connection: `unauthenticated`, or `unavailable` with a message fit for a log. */
export function readOpenError(error: unknown): RpcError {
  if (isRpcError(error)) return error;
  const known = readAuthorizationError(error);
  if (known !== undefined) return known;
  if (SdkHttpError.isInstance(error) && error.status === 401) return unauthenticated(error);
  const cause = SdkError.isInstance(error) && isJsonObject(error.data) ? (error.data as { cause?: unknown }).cause : undefined;
  if (cause !== undefined) {
    const underneath = readOpenError(cause);
    if (isRefusal(underneath)) return underneath;
  }
  return new RpcError('unavailable', messageOf(error), { cause: error });
}

/** Whether a server, or what has the tokens for it, refused the credentials: another attempt would end alike. */
export function isRefusal(error: unknown): error is RpcError {
  return isRpcError(error) && (error.code === 'unauthenticated' || error.code === 'insufficient_scope');
}

function readAuthorizationError(error: unknown): RpcError | undefined {
  if (InsufficientScopeError.isInstance(error))
    return new RpcError('insufficient_scope', 'The token lacks a scope this request needs', { cause: error });
  return UnauthorizedError.isInstance(error) ? unauthenticated(error) : undefined;
}

function readHttpError(error: SdkHttpError, flight: Flight, sessionId: string | undefined): RpcError | ConnectionLostError {
  const answer = jsonRpcErrorIn(error.data.text);
  // A legacy session the server no longer knows (2025-11-25 basic/transports, "Session Management"): start a new one.
  if (error.status === 404 && sessionId !== undefined) return new ConnectionLostError('The server has ended the session', false, error);
  if (answer !== undefined) return fromWireError(answer);
  if (error.status === 401) return unauthenticated(error);
  if (error.status === 403) return new RpcError('forbidden', 'The server refused the request (HTTP 403)', { cause: error });
  if (error.status === 413)
    return new RpcError('payload_too_large', 'The request is larger than the server accepts (HTTP 413)', { cause: error });
  if (error.status === 429) return new RpcError('rate_limited', 'The server takes no more requests for now (HTTP 429)', { cause: error });
  if (GATEWAY_STATUSES.has(error.status))
    return new ConnectionLostError(`The server cannot be reached (HTTP ${error.status})`, flight.sent, error);
  return new RpcError('upstream_error', `The server answered with HTTP ${error.status}`, { cause: error });
}

function unauthenticated(cause: unknown): RpcError {
  return new RpcError('unauthenticated', 'The server does not accept the credentials', { cause });
}

function jsonRpcErrorIn(text: unknown): { code: number; message: string; data?: unknown } | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown; data?: unknown } };
    if (typeof error?.code !== 'number' || typeof error.message !== 'string') return undefined;
    return { code: error.code, message: error.message, data: error.data };
  } catch {
    return undefined;
  }
}

function neverConnected(error: unknown): boolean {
  const causes: unknown[] = [error];
  for (const value of causes) {
    if (!(value instanceof Error)) continue;
    if (NEVER_CONNECTED.has((value as { code?: unknown }).code)) return true;
    // One error per address tried: none was connected if one says refused and all of them failed to connect.
    if (value instanceof AggregateError) return value.errors.length > 0 && value.errors.every((each) => neverConnected(each));
    if (value.cause !== undefined) causes.push(value.cause);
  }
  return false;
}

/** An error's message, with that of its deepest cause where it tells more. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  let deepest: Error = error;
  for (let depth = 0; depth < 8; depth += 1) {
    const next = deepest.cause ?? (SdkError.isInstance(deepest) ? (deepest.data as { cause?: unknown } | undefined)?.cause : undefined);
    if (!(next instanceof Error)) break;
    deepest = next;
  }
  const message = error.message || error.name;
  return deepest.message === '' || message.includes(deepest.message) ? message : `${message} (${deepest.message})`;
}
