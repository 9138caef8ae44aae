import type { AuditEvent } from './audit.js';
import type { Clock } from './clock.js';
import type { AuthenticationRequest, Principal } from './identity.js';
import type { JsonObject } from './json.js';
import type { RpcService } from './service.js';

/** A session as the server saw it: a legacy HTTP one, or a connection that speaks MCP. */
export interface EndedSession {
  /** As in {@link RpcContext}. */
  readonly transport: string;
  /** The MCP revision spoken in it. */
  readonly protocolVersion: string;
  readonly durationMs: number;
}

/** What a server gives the listeners it starts. */
export interface ListenerHost {
  /** The service to expose, middleware already around its handler. */
  readonly service: RpcService;
  /** Proves who is calling. Throws `RpcError` `unauthenticated`; has audited the failure by then. */
  authenticate(request: AuthenticationRequest): Promise<Principal>;
  /** Records a security event that did not come through a handler: a refused origin, a bad handshake. */
  audit(event: AuditEvent): void;
  /** Reports a failure that no caller is waiting for. */
  onError(error: Error): void;
  /** Counts a connection in or out, for `activeConnections`. */
  connection(change: 1 | -1): void;
  /** Largest message a listener accepts, in bytes. */
  readonly maxMessageBytes: number;
  /** Deepest nesting of objects and arrays in a message. */
  readonly maxJsonDepth: number;
  /** Most requests of one connection in progress at a time; further ones wait unread. */
  readonly maxInFlight: number;
  /** Told of every session that has ended. Absent: nobody wants to know. */
  sessionEnded?(session: EndedSession): void;
  /** The server's clock, for timeouts and expiry. Default: the machine's. */
  readonly clock?: Clock;
  /** Whether the server takes requests: false while it starts and drains. Absent: always. */
  ready?(): boolean;
  /** Whether one more connection fits the server's limit; a listener closes the one it is asked about if not. Absent: always. */
  hasCapacity?(): boolean;
  /** The document that anyone may read at this URL path over HTTP, such as OAuth metadata (RFC 9728). Absent: there are none. */
  document?(path: string): JsonObject | undefined;
  /** Tells the server that this listener has ended by itself: its one peer, such as stdio's, is gone. */
  ended?(): void;
}

/**
 * Turns bytes into requests for a service and results into bytes. Life: `listen`, then `drain` (accept
 * nothing new, finish what runs), then `close`. Each may be called twice; `close` without `drain` cuts.
 */
export interface Listener {
  /** Names the transport in contexts, audit and metrics. */
  readonly name: string;
  /** Where it listens once `listen` has resolved: a URL, a path, or `stdio:`. */
  readonly endpoint: string | undefined;
  listen(host: ListenerHost): Promise<void>;
  /** Accepts nothing new and resolves when what was in progress is done or `deadlineMs` is over. */
  drain(deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}
