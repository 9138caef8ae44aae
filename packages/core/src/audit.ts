import { RpcError } from './errors.js';
import type { JsonObject } from './json.js';

/** How the audited thing ended. */
export type AuditOutcome = 'allowed' | 'denied' | 'succeeded' | 'failed';

/** One fact for the audit trail: who did what, when, how it ended. Never holds a credential. */
export interface AuditEvent {
  /** What happened, dotted: `tool.call`, `tool.denied`, `auth.failed`, `registry.changed`, `rate.limited`. */
  readonly type: string;
  /** Epoch milliseconds. */
  readonly time: number;
  readonly outcome: AuditOutcome;
  /** The principal's id, or `-` where nobody was identified. */
  readonly actor: string;
  /** What it was done to: a tool's name, a resource's URI, a method. */
  readonly target?: string;
  /** Why, when it was denied or failed. For the trail only; callers never see it. */
  readonly reason?: string;
  /** Milliseconds the execution took. */
  readonly durationMs?: number;
  /** W3C trace id. */
  readonly traceId?: string;
  readonly transport?: string;
  readonly remoteAddress?: string;
  readonly sessionId?: string;
  /** Further facts, redacted by who writes them. */
  readonly details?: JsonObject;
}

/**
 * Where audit events go.
 *
 * `record` accepts an event as it is now, without waiting for it to be durable, so that no call waits for
 * the trail. It throws `RpcError` `internal_error` when the sink is closed, and `unavailable` when the
 * sink holds as many events as it can while its storage is down: what is accepted is not dropped.
 * `flush` resolves when everything accepted so far is durable and rejects with the error that made it
 * impossible. `close` flushes first and is idempotent. Every driver passes `auditSinkContract` of
 * `@mcp-blocks/core/testing`.
 */
export interface AuditSink {
  record(event: AuditEvent): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Keeps the last `capacity` events in memory, for tests and for processes that need no trail. */
export class MemoryAuditSink implements AuditSink {
  readonly events: AuditEvent[] = [];
  readonly #capacity: number;
  #closed = false;

  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  record(event: AuditEvent): void {
    if (this.#closed) throw new RpcError('internal_error', 'The audit sink is closed');
    this.events.push(structuredClone(event));
    if (this.events.length > this.#capacity) this.events.shift();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
