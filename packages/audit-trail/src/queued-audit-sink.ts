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

/** Options of every sink that queues what it accepts. */
export interface QueuedAuditSinkOptions {
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
 * Accepts events without waiting and hands them on in batches, one at a time.
 *
 * While that fails, events are kept and tried again. At `maxQueuedRecords` kept events `record`
 * throws `RpcError` `unavailable`, so that the owner decides whether calls go on without a trail: nothing
 * that was accepted is dropped.
 */
export abstract class QueuedAuditSink implements AuditSink {
  readonly #maxQueued: number;
  readonly #batchDelayMs: number;
  readonly #retryDelayMs: number;
  readonly #onError: ((error: Error) => void) | undefined;
  readonly #clock: Clock;
  /** Accepted events not yet durable, as canonical JSON: what they said when they were recorded. */
  readonly #queue: string[] = [];
  #waiting: { readonly upTo: number; resolve(): void; reject(error: Error): void }[] = [];
  /** Events that left the queue; with the queue's length, a position that flush can wait for. */
  #written = 0;
  #writing = false;
  /** Failed writes since the last that was none. */
  #failures = 0;
  #cancelTimer: CancelTimer | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when an option is out of range. */
  constructor(options: QueuedAuditSinkOptions = {}) {
    this.#maxQueued = inRange('maxQueuedRecords', options.maxQueuedRecords ?? 10_000, 1);
    this.#batchDelayMs = inRange('batchDelayMs', options.batchDelayMs ?? 20, 0);
    this.#retryDelayMs = inRange('retryDelayMs', options.retryDelayMs ?? 1_000, 1);
    this.#onError = options.onError;
    this.#clock = options.clock ?? systemClock;
  }

  /** Makes a batch of events, each as canonical JSON, durable: all, or none. After a rejection it is called again. */
  protected abstract write(events: readonly string[]): Promise<void>;

  /** Releases what `write` needs. Called once, when everything is written. */
  protected abstract release(): Promise<void>;

  /** Pause before the next attempt, after so many failed ones in a row. */
  protected retryDelay(_failures: number, _error: unknown): number {
    return this.#retryDelayMs;
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
    void this.#writeAll();
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
    await this.release();
  }

  #schedule(delayMs: number): void {
    if (this.#writing || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#clock.setTimeout(() => {
      this.#cancelTimer = undefined;
      void this.#writeAll();
    }, delayMs);
  }

  /** Writes batches until the queue is empty or a write fails. Never rejects. */
  async #writeAll(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let failure: Error | undefined;
    while (this.#queue.length > 0 && failure === undefined) failure = await this.#writeBatch();
    this.#writing = false;
    if (failure === undefined) return;
    this.#schedule(this.retryDelay(this.#failures, failure.cause));
    const waiting = this.#waiting;
    this.#waiting = [];
    if (waiting.length === 0) this.#onError?.(failure);
    for (const { reject } of waiting) reject(failure);
  }

  async #writeBatch(): Promise<Error | undefined> {
    const batch = this.#queue.slice(0, MAX_BATCH);
    try {
      await this.write(batch);
    } catch (cause) {
      this.#failures += 1;
      return new RpcError('unavailable', 'The audit trail cannot be written', { cause });
    }
    this.#failures = 0;
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

export function inRange(option: string, value: number, min: number): number {
  if (!Number.isSafeInteger(value) || value < min)
    throw new ConfigurationError(option, `expected an integer of at least ${min}, got ${value}`);
  return value;
}
