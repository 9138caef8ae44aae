import type { JsonObject, ProtocolEra } from '@mcp-blocks/core';
import type { AmbiguousOutcomeError } from './ambiguous-outcome-error.js';
import type { ConnectionState } from './connection-manager.js';
import type { Health } from './health-state.js';
import type { Retry } from './request-scheduler.js';
import type { ResourceChange } from './resource-subscriptions.js';
import type { CacheEvent } from './response-cache.js';

/** How the client is connected. */
export interface ConnectionStatus {
  readonly state: ConnectionState;
  /** `websocket`, `http` or a custom connector's name; `null` while there is no connection. */
  readonly transport: string | null;
  /** The protocol era spoken; `null` while there is no connection. */
  readonly era: ProtocolEra | null;
  readonly health: Health;
  /** Moving average of round trips in milliseconds; `null` before the first. */
  readonly latency: number | null;
  /** The newest reason for a failed or lost connection. */
  readonly lastError?: Error;
  /** Failed rounds of attempts since the connection was lost; 0 while connected. */
  readonly reconnectAttempts: number;
}

/** What listeners of `toolsChanged`, `promptsChanged` and `resourcesChanged` are told. */
export interface ListChange {
  /** It may have changed while nobody could tell: there was another connection, or a gap. */
  readonly missed: boolean;
}

/** What listeners of `MCPClientPattern.on` are given. */
export interface MCPClientEvents {
  /** The state, the transport or `lastError` has changed. */
  statusChange: ConnectionStatus;
  /** A connection was made over another transport than the last one's; `from` is `null` for the first. */
  transportChange: { readonly from: string | null; readonly to: string };
  /** `health` has changed: the connection was lost, has become slow, or is well again. */
  healthChange: { readonly from: Health; readonly to: Health; readonly latency: number | null };
  /** What the cache did. */
  cache: CacheEvent;
  /** A request is sent again, after `delayMs`. */
  retry: Retry;
  /** A request was refused because `queueLimit` requests are waiting. */
  queueFull: { readonly method: string; readonly queueLimit: number };
  /** A request failed that may have been carried out; its caller gets the same error. */
  ambiguousOutcome: AmbiguousOutcomeError;
  /**
   * Trouble worth a line in a log: of the transport, of a subscription, of a listener. What made a request
   * fail may show here too.
   */
  error: Error;
  /** The list of tools has changed; the cache no longer holds it. */
  toolsChanged: ListChange;
  /** The list of prompts, or a prompt, has changed. */
  promptsChanged: ListChange;
  /** The list of resources or of their templates has changed. */
  resourcesChanged: ListChange;
  /** A resource has changed that somebody is subscribed to (`subscribe`). */
  resourceUpdated: ResourceChange;
  /** Any notification of the server, the cache already updated by it. */
  notification: { readonly method: string; readonly params: JsonObject };
}
