import {
  type AuditEvent,
  type AuditSink,
  type CancelTimer,
  type Clock,
  ConfigurationError,
  canonicalJson,
  type JsonObject,
  RpcError,
  systemClock,
} from '@mcp-blocks/core';
import { nextRecord, type TrailHead } from './record.js';
import type { TrailStore } from './trail-store.js';

/** Options of every chained sink. */
export interface ChainedAuditSinkOptions {
  /**
   * Most events accepted and not yet durable; at the bound `record` throws. A positive integer.
   * Default: 10,000.
   */
  readonly maxQueuedRecords?: number;
  /**
   * Longest an event waits for others to share its write with, in milliseconds; 0 or more. What is not yet
   * written is lost if the process is killed. Default: 20.
   */
  readonly batchDelayMs?: number;
  /** Pause after a failed write before the next attempt, in milliseconds; a positive number. Default: 1,000. */
  readonly retryDelayMs?: number;
  /** Told of failed writes that no `flush` or `close` is waiting for. Default: they are only retried. */
  readonly onError?: (error: Error) => void;
  readonly clock?: Clock;
}

const MAX_BATCH = 1_000;

/**
 * Chains events by hash and hands them to a {@link TrailStore} in batches.
 *
 * While the store fails, events are kept and tried again. At `maxQueuedRecords` kept events `record`
 * throws `RpcError` `unavailable`, so that the owner decides whether calls go on without a trail: nothing
 * that was accepted is dropped.
 */
export class ChainedAuditSink implements AuditSink {
  readonly #store: TrailStore;
  readonly #maxQueued: number;
  readonly #batchDelayMs: number;
  readonly #retryDelayMs: number;
  readonly #onError: ((error: Error) => void) | undefined;
  readonly #clock: Clock;
  /** Accepted events not yet durable, as canonical JSON: what they said when they were recorded. */
  readonly #queue: string[] = [];
  #waiting: { readonly upTo: number; resolve(): void; reject(error: Error): void }[] = [];
  #head: TrailHead;
  /** Events that left the queue; with the queue's length, a position that flush can wait for. */
  #written = 0;
  #writing = false;
  #cancelTimer: CancelTimer | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * @param openStore - called once, after the options are found right; the sink closes the store.
   * @throws ConfigurationError when an option is out of range; what `openStore` throws.
   */
  constructor(openStore: () => TrailStore, options: ChainedAuditSinkOptions = {}) {
    this.#maxQueued = inRange('maxQueuedRecords', options.maxQueuedRecords ?? 10_000, 1);
    this.#batchDelayMs = inRange('batchDelayMs', options.batchDelayMs ?? 20, 0);
    this.#retryDelayMs = inRange('retryDelayMs', options.retryDelayMs ?? 1_000, 1);
    this.#onError = options.onError;
    this.#clock = options.clock ?? systemClock;
    const store = openStore();
    this.#store = store;
    this.#head = store.head;
    if (store.recovered !== undefined) {
      this.record({ type: 'audit.recovered', time: this.#clock.now(), outcome: 'succeeded', actor: '-', details: store.recovered });
    }
  }

  /** The last durable record: publish it elsewhere, and even whoever can write the storage cannot rewrite what came before. */
  get head(): TrailHead {
    return this.#head;
  }

  /** Events accepted and not yet durable. */
  get queuedRecords(): number {
    return this.#queue.length;
  }

  /**
   * Accepts an event. Does no input or output.
   * @throws RpcError `internal_error` when closed, `unavailable` at `maxQueuedRecords`; TypeError when
   * the event is not JSON.
   */
  record(event: AuditEvent): void {
    if (this.#closed) throw new RpcError('internal_error', 'The audit sink is closed');
    if (this.#queue.length >= this.#maxQueued) {
      throw new RpcError('unavailable', 'The audit trail takes no more events', {
        auditReason: `${this.#maxQueued} events wait for the storage (option maxQueuedRecords)`,
      });
    }
    this.#queue.push(canonicalJson(event as unknown as JsonObject));
    this.#schedule(this.#batchDelayMs);
  }

  /** @throws RpcError `unavailable` when the storage fails; the events are kept and tried again. */
  flush(): Promise<void> {
    if (this.#queue.length === 0) return Promise.resolve();
    const done = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ upTo: this.#written + this.#queue.length, resolve, reject });
    });
    void this.#write();
    return done;
  }

  /**
   * Makes everything accepted durable and releases the storage.
   * @throws RpcError `unavailable` when that fails: events and storage are kept, and close may be called again.
   */
  close(): Promise<void> {
    this.#closed = true;
    this.#closing ??= this.#close().catch((error: unknown) => {
      this.#closing = undefined;
      throw error;
    });
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.flush();
    this.#cancelTimer?.();
    await this.#store.close();
  }

  #schedule(delayMs: number): void {
    if (this.#writing || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#clock.setTimeout(() => {
      this.#cancelTimer = undefined;
      void this.#write();
    }, delayMs);
  }

  /** Writes batches until the queue is empty or a write fails. Never rejects. */
  async #write(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let failure: Error | undefined;
    while (this.#queue.length > 0 && failure === undefined) failure = await this.#writeBatch();
    this.#writing = false;
    if (failure === undefined) return;
    this.#schedule(this.#retryDelayMs);
    const waiting = this.#waiting;
    this.#waiting = [];
    if (waiting.length === 0) this.#onError?.(failure);
    for (const { reject } of waiting) reject(failure);
  }

  async #writeBatch(): Promise<Error | undefined> {
    const batch = this.#queue.slice(0, MAX_BATCH);
    const records: string[] = [];
    let head = this.#head;
    for (const event of batch) {
      const next = nextRecord(head, event);
      records.push(next.text);
      head = next.head;
    }
    try {
      await this.#store.append(records, head);
    } catch (cause) {
      return new RpcError('unavailable', 'The audit trail cannot be written', { cause });
    }
    this.#head = head;
    this.#queue.splice(0, batch.length);
    this.#written += batch.length;
    this.#waiting = this.#waiting.filter(({ upTo, resolve }) => {
      if (upTo > this.#written) return true;
      resolve();
      return false;
    });
    return undefined;
  }
}

function inRange(option: string, value: number, min: number): number {
  if (!Number.isSafeInteger(value) || value < min)
    throw new ConfigurationError(option, `expected an integer of at least ${min}, got ${value}`);
  return value;
}
