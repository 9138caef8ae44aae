import type { JsonRpcMessage, RpcError } from '@mcp-blocks/core';

/** The id of a JSON-RPC request. */
export type MessageId = string | number;

/**
 * What is known of a request that gets no answer: the server did not begin it, nobody knows, or it was
 * refused for good.
 */
export type Outcome = 'not-started' | 'unknown' | 'refused';

/** Why nothing more can be sent until {@link Remote.open} has been called again. */
export interface Loss {
  readonly error: RpcError;
  /** What is known of the requests in flight; `separate` when each is reported on its own. */
  readonly inFlight: 'not-started' | 'unknown' | 'separate';
  /** Whether the session, in the eras that have one, went with it. */
  readonly session: boolean;
}

/** What a {@link Remote} tells. */
export interface RemoteEvents {
  /** A message of the server. Where a promise is returned, reading can wait for it. */
  message(message: JsonRpcMessage): Promise<void> | undefined;
  /** The request gets no answer. */
  failed(id: MessageId, outcome: Outcome, error: RpcError): void;
  lost(loss: Loss): void;
  /** Something for `--verbose`. */
  debug(text: string): void;
  /** Something the user should know. */
  warn(text: string): void;
}

/** The way to a server, which can be opened again after it was lost. */
export interface Remote {
  /** True when a connection carries session and identity; false when every message stands for itself. */
  readonly connectionBound: boolean;
  /** @throws RpcError `unauthenticated`, `forbidden` or `unavailable`. */
  open(): Promise<void>;
  /** Resolves when the next message may be sent. Failures are told as events. */
  send(message: JsonRpcMessage): Promise<void>;
  /** Says goodbye. No event follows. */
  close(): Promise<void>;
}
