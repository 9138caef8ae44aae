import type { JsonObject, ProtocolEra, RpcResult } from '@mcp-blocks/core';

/** How one request is sent over a {@link Connection}. */
export interface SendOptions {
  /** Aborting stops waiting and tells the server that the request is cancelled. */
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: JsonObject) => void) | undefined;
  /** Told when the server begins to wait for an input handler, and when it has been answered. */
  readonly onInput?: ((isWaiting: boolean) => void) | undefined;
}

/** An answer, with what a cache must know of how it came about. */
export interface Answer {
  readonly result: RpcResult;
  /** Whether the server asked for input on the way. Such results are never cached (MCP 2026-07-28, server/utilities/caching). */
  readonly interactive: boolean;
  readonly era: ProtocolEra;
}

/** What a {@link Connection} tells its owner. */
export interface ConnectionEvents {
  /** A notification of the server. */
  onNotification(method: string, params: JsonObject): void;
  /** Change notifications flow again after a gap in which some may have been missed. */
  onGap(): void;
  /** A failure that no request is waiting for. */
  onError(error: Error): void;
}

/** An open, negotiated connection to an MCP server. */
export interface Connection {
  readonly era: ProtocolEra;
  /** Resolves when the connection has ended, by whichever side, with the reason if one is known. */
  readonly closed: Promise<Error | undefined>;
  /**
   * Sends a request.
   *
   * @throws ConnectionLostError when the connection failed the request; RpcError for everything else.
   */
  request(method: string, params: JsonObject, options: SendOptions): Promise<Answer>;
  /**
   * Makes these the resources whose changes the server tells of, in place of those before. Absent: it cannot.
   *
   * @throws RpcError when the server refuses; those before stay then.
   */
  watch?(uris: readonly string[], signal: AbortSignal): Promise<void>;
  /** Takes no part in anything new; closes when its requests in progress are answered. */
  retire(): void;
  /**
   * Ends the connection; requests in progress fail with ConnectionLostError.
   *
   * @param dead - the server does not answer any longer: nothing is waited for.
   */
  close(dead?: boolean): Promise<void>;
}

/** Opens connections over one transport. */
export interface Connector {
  /** Names the transport in statuses: `websocket`, `http`, or your own. */
  readonly kind: string;
  /**
   * Opens a connection and agrees on a protocol version.
   *
   * @param token - the bearer token to present, where there is one.
   * @param signal - aborts the attempt.
   * @throws RpcError `unauthenticated` when the server refuses the credentials; any error otherwise.
   */
  open(token: string | undefined, events: ConnectionEvents, signal: AbortSignal): Promise<Connection>;
}

/** The connection failed a request: it broke, or was never there. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError';
  /** False when the request certainly never reached the server's handler. */
  readonly maybeDelivered: boolean;
  /** How long the server, or a proxy in front of it, asked to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, maybeDelivered: boolean, cause?: unknown, retryAfterMs?: number) {
    super(message, cause === undefined ? undefined : { cause });
    this.maybeDelivered = maybeDelivered;
    this.retryAfterMs = retryAfterMs;
  }
}
