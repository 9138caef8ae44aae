import { systemClock } from '@mcp-blocks/core';
import { QueuedAuditSink, type QueuedAuditSinkOptions } from './queued-audit-sink.js';
import { nextRecord, type TrailHead } from './record.js';
import type { TrailStore } from './trail-store.js';

/** Options of every chained sink. */
export interface ChainedAuditSinkOptions extends QueuedAuditSinkOptions {}

/** Chains events by hash and hands them to a {@link TrailStore} in batches. */
export class ChainedAuditSink extends QueuedAuditSink {
  readonly #store: TrailStore;
  #head: TrailHead;

  /**
   * @param openStore - called once, after the options are found right; the sink closes the store.
   * @throws ConfigurationError when an option is out of range; what `openStore` throws.
   */
  constructor(openStore: () => TrailStore, options: ChainedAuditSinkOptions = {}) {
    super(options);
    const store = openStore();
    this.#store = store;
    this.#head = store.head;
    if (store.recovered !== undefined) {
      const time = (options.clock ?? systemClock).now();
      this.record({ type: 'audit.recovered', time, outcome: 'succeeded', actor: '-', details: store.recovered });
    }
  }

  /** The last durable record: publish it elsewhere, and even whoever can write the storage cannot rewrite what came before. */
  get head(): TrailHead {
    return this.#head;
  }

  protected async write(events: readonly string[]): Promise<void> {
    const records: string[] = [];
    let head = this.#head;
    for (const event of events) {
      const next = nextRecord(head, event);
      records.push(next.text);
      head = next.head;
    }
    await this.#store.append(records, head);
    this.#head = head;
  }

  protected release(): Promise<void> {
    return this.#store.close();
  }
}
