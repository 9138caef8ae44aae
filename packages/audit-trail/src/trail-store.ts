import type { JsonObject } from '@mcp-blocks/core';
import type { TrailHead } from './record.js';

/** Where a `ChainedAuditSink` keeps its records. Implement it to add a driver. */
export interface TrailStore {
  /** Where the stored trail ended when the store was opened. */
  readonly head: TrailHead;
  /** What had to be repaired at opening, if anything; goes into an `audit.recovered` event. */
  readonly recovered?: JsonObject;
  /**
   * Makes records and the head they lead to durable: all, or none. After a rejection it is called again
   * with the same records, possibly followed by more. Never called while a call is pending.
   */
  append(records: readonly string[], head: TrailHead): Promise<void>;
  close(): Promise<void>;
}
