import type { TrailAnchor } from './anchor.js';
import type { AuditFilter } from './filter.js';
import type { AuditRecord, TrailHead } from './record.js';

/** A stored record before it is looked at. */
export interface RawRecord {
  /** Line of the file or row of the table, from 1. */
  readonly line: number;
  /** Which file of the trail, where it has several. */
  readonly file?: string;
  readonly bytes: Uint8Array;
  /** False for a last line without its line feed. */
  readonly complete: boolean;
  /** What the table says beside the record, if it does not say the same. */
  readonly rowFault?: (record: AuditRecord) => string | undefined;
}

/** A trail opened for reading. */
export interface OpenTrail {
  /** The head; in words what is wrong with it when it cannot be used. Read before the records. */
  readonly head: TrailHead | string;
  /** What stands for pruned records, if any were; in words what is wrong with it. */
  readonly anchor: TrailAnchor | string | undefined;
  /** The records in stored order. Those up to and including `after` may be left out. */
  records(after?: number): AsyncGenerator<RawRecord>;
  /** The records after `after` that an index says match. Absent where there is none. */
  readonly find?: (filter: AuditFilter, after: number) => AsyncGenerator<RawRecord>;
  close(): Promise<void>;
}

/** A trail as the functions of this package take it: what `openTrail` makes of a path, `postgresTrail` of a URL. */
export interface StoredTrail {
  open(): Promise<OpenTrail>;
  /** Readies the trail for pruning; nobody else prunes it until `release`. */
  startPruning(): Promise<Pruning>;
}

/** A pruning under way. */
export interface Pruning {
  /** The last record that may be cut while the trail is written by somebody else. */
  readonly limit: number;
  /** Puts the anchor in place of the records up to and including it. A crash leaves the trail verifiable. */
  cut(anchor: TrailAnchor): Promise<void>;
  release(): Promise<void>;
}
