import { type AuditEvent, type AuditSink, type CancelTimer, type Clock, ConfigurationError, RpcError, systemClock } from '@mcp-blocks/core';
import { readIfThere, replaceFile } from './durable-files.js';
import { FileAuditSink } from './file-audit-sink.js';
import { pruneAuditTrail } from './prune.js';
import { findRecords } from './query.js';
import { inRange } from './queued-audit-sink.js';

/** Options of {@link SpooledAuditSink}. */
export interface SpooledAuditSinkOptions {
  /** The spool: a trail of a `FileAuditSink`, made if need be. Beside it comes `<path>.delivered`. */
  readonly path: string;
  /** Where the events go from there. Closed with the spool. */
  readonly sink: AuditSink;
  /** Most events in the spool that are not delivered; at the bound `record` throws. A positive integer. Default: 1,000,000. */
  readonly maxSpooledRecords?: number;
  /** Bytes after which a file of the spool is finished, and removed once delivered. A positive integer. Default: 8 MiB. */
  readonly maxFileBytes?: number;
  /** Pause after a failed delivery, in milliseconds; a positive integer. Default: 1,000. */
  readonly retryDelayMs?: number;
  /** Told of failed deliveries and of failed writes to the spool; both are tried again. */
  readonly onError?: (error: Error) => void;
  readonly clock?: Clock;
}

const BATCH = 500;

/**
 * Keeps events in a file until another sink has made them durable, through outages and restarts.
 *
 * `flush` resolves when events are durable in the spool. They are delivered in order, and once each unless
 * the process ends between a delivery and the note of it: then up to 500 are delivered again.
 */
export class SpooledAuditSink implements AuditSink {
  readonly #options: SpooledAuditSinkOptions;
  readonly #spool: FileAuditSink;
  readonly #clock: Clock;
  readonly #maxSpooled: number;
  readonly #maxFileBytes: number;
  readonly #retryDelayMs: number;
  /** The last record that the sink has made durable, and the last it was given. */
  #delivered: number;
  #handed: number;
  #prunedAt: number;
  #running: Promise<void> | undefined;
  #cancelTimer: CancelTimer | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * Opens the spool and delivers what an earlier process left in it.
   * @throws ConfigurationError when an option is wrong; as `FileAuditSink` does.
   */
  constructor(options: SpooledAuditSinkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#maxSpooled = inRange('maxSpooledRecords', options.maxSpooledRecords ?? 1_000_000, 1);
    this.#maxFileBytes = inRange('maxFileBytes', options.maxFileBytes ?? 8_388_608, 1);
    this.#retryDelayMs = inRange('retryDelayMs', options.retryDelayMs ?? 1_000, 1);
    const delivered = readIfThere(`${options.path}.delivered`) ?? '0';
    if (!/^\d{1,15}$/.test(delivered)) throw new ConfigurationError('path', `'${options.path}.delivered' holds no number`);
    this.#spool = new FileAuditSink({
      path: options.path,
      maxFileBytes: this.#maxFileBytes,
      retryDelayMs: this.#retryDelayMs,
      clock: this.#clock,
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
    this.#delivered = Number(delivered);
    this.#handed = this.#delivered;
    this.#prunedAt = this.#delivered;
    if (this.spooledRecords > 0) this.#schedule(0);
  }

  /** Events accepted and not yet delivered. */
  get spooledRecords(): number {
    return this.#spool.head.seq + this.#spool.queuedRecords - this.#delivered;
  }

  record(event: AuditEvent): void {
    if (!this.#closed && this.spooledRecords >= this.#maxSpooled) {
      throw new RpcError('unavailable', 'The audit trail takes no more events', {
        auditReason: `${this.#maxSpooled} events wait in the spool (option maxSpooledRecords)`,
      });
    }
    this.#spool.record(event);
    this.#schedule(0);
  }

  flush(): Promise<void> {
    return this.#spool.flush();
  }

  /** Resolves when all that was accepted is delivered; rejects with the reason why it cannot be now. */
  async delivered(): Promise<void> {
    await this.#running?.catch(() => {});
    while (this.spooledRecords > 0) await (this.#running ??= this.#deliver());
  }

  /**
   * Delivers the rest and closes spool and sink. When the rest cannot be delivered it stays in the spool for
   * the next start, and what `sink.close()` says of it is thrown.
   */
  close(): Promise<void> {
    this.#closed = true;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#spool.flush();
    await this.delivered().catch(() => {});
    this.#cancelTimer?.();
    await this.#spool.close();
    await this.#options.sink.close();
  }

  #schedule(delayMs: number): void {
    if (this.#running !== undefined || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#clock.setTimeout(() => {
      this.#cancelTimer = undefined;
      if (this.spooledRecords === 0) return;
      this.#running ??= this.#deliver();
      // Told to onError where it failed.
      this.#running.catch(() => {});
    }, delayMs);
  }

  /** Delivers until nothing is left or it fails. */
  async #deliver(): Promise<void> {
    let pause = 0;
    try {
      do await this.#deliverBatch();
      while (this.spooledRecords > 0);
    } catch (error) {
      pause = this.#retryDelayMs;
      this.#options.onError?.(error as Error);
      throw error;
    } finally {
      this.#running = undefined;
      if (!this.#closed && this.spooledRecords > 0) this.#schedule(pause);
    }
  }

  async #deliverBatch(): Promise<void> {
    const { path, sink } = this.#options;
    await this.#spool.flush();
    // What was handed over before a failure is in the sink's own queue: it is not given again.
    if (this.#handed === this.#delivered) {
      for await (const { seq, event } of findRecords(path, {}, this.#handed)) {
        sink.record(event);
        this.#handed = seq;
        if (seq - this.#delivered === BATCH) break;
      }
    }
    await sink.flush();
    await replaceFile(`${path}.delivered`, String(this.#handed));
    this.#delivered = this.#handed;
    if (this.#delivered - this.#prunedAt >= BATCH) {
      this.#prunedAt = this.#delivered;
      await pruneAuditTrail(path, { keepRecords: this.#spool.head.seq - this.#delivered, clock: this.#clock });
    }
  }
}
