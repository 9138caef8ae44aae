import { type CancelTimer, isRepeatableMethod, type JsonRpcRequest, RpcError, toWireError } from '@mcp-blocks/core';
import type { MessageId } from './remote.js';

/** Most times one request may reach a server, so that a request that kills its server cannot do so for ever. */
export const MAX_DELIVERIES = 3;

/** A request of the host that has no answer yet. */
export interface PendingRequest {
  readonly request: JsonRpcRequest;
  /** Whether it has been given to the remote, rather than waiting. */
  sent: boolean;
  /** How often it may have reached a server. */
  deliveries: number;
  /** A `subscriptions/listen` the server has acknowledged: it lasts until somebody ends it. */
  acknowledged: boolean;
  cancelWait: CancelTimer | undefined;
}

export function isListen({ request }: PendingRequest): boolean {
  return request.method === 'subscriptions/listen';
}

/** Whether a request may be sent again when nobody knows if it was carried out. */
export function mayRepeat(pending: PendingRequest): boolean {
  // A new connection is a new session, and a new stream: neither knows of the first.
  return isListen(pending) || pending.request.method === 'initialize' || isRepeatableMethod(pending.request.method);
}

/** What the caller is told when nobody knows whether the request was carried out. */
export function ambiguous(cause: RpcError): RpcError {
  return new RpcError('ambiguous_outcome', 'The connection to the server broke after the request was sent; it may have been carried out', {
    cause,
  });
}

/** The JSON-RPC response that carries an error; the id is null where the request's is not known. */
export function errorResponse(id: MessageId | null, error: unknown): object {
  const { code, message, data } = toWireError(error);
  return { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } };
}
