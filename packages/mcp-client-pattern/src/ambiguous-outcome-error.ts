import { type JsonObject, RpcError } from '@mcp-blocks/core';

/** Why nobody here knows whether a request was carried out. */
export type AmbiguousReason = 'connection_lost' | 'timeout' | 'closed' | 'upstream';

/** What was sent. */
export interface AmbiguousRequest {
  readonly method: string;
  /** The tool's name, where it is a `tools/call`. */
  readonly tool?: string | undefined;
  /** As sent in `_meta["io.mcp-blocks/idempotencyKey"]`. */
  readonly idempotencyKey?: string | undefined;
}

const WHY: Readonly<Record<AmbiguousReason, string>> = {
  connection_lost: 'the connection was lost before the answer came',
  timeout: 'no answer came in time',
  closed: 'the client was closed before the answer came',
  upstream: 'the server does not know either',
};

/**
 * A request was sent, its outcome is not known, and it was not sent again because that could carry it out
 * twice. `code` is `ambiguous_outcome`.
 *
 * To find out: look on the server for the effect of `idempotencyKey`, or read what the call would have
 * changed. Where the server deduplicates by that key, or doing it twice does no harm, send the same params
 * again with the same key in `_meta`.
 */
export class AmbiguousOutcomeError extends RpcError {
  override readonly name = 'AmbiguousOutcomeError';
  readonly method: string;
  readonly tool: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly reason: AmbiguousReason;

  constructor(request: AmbiguousRequest, reason: AmbiguousReason, cause?: unknown) {
    const { method, tool, idempotencyKey } = request;
    const upstream = reason === 'upstream' && cause instanceof RpcError ? cause : undefined;
    const data: JsonObject = {
      ...upstream?.data,
      method,
      ...(tool === undefined ? {} : { tool }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      reason,
    };
    const what = tool === undefined ? method : `${method} ${tool}`;
    const key = idempotencyKey === undefined ? '' : `; its idempotency key is ${idempotencyKey}`;
    super('ambiguous_outcome', `${what} was sent and may or may not have been carried out: ${WHY[reason]}${key}`, {
      data,
      cause,
      ...(upstream?.jsonRpcCode === undefined ? {} : { jsonRpcCode: upstream.jsonRpcCode }),
    });
    this.method = method;
    this.tool = tool;
    this.idempotencyKey = idempotencyKey;
    this.reason = reason;
  }
}
