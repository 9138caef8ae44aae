import { ChainedAuditSink, type ChainedAuditSinkOptions } from './chained-audit-sink.js';
import { SqliteTrailStore } from './sqlite-trail-store.js';

/** Options of {@link SqliteAuditSink}. */
export interface SqliteAuditSinkOptions extends ChainedAuditSinkOptions {
  /** The database file, made if need be. May hold other tables. Beside it comes `<path>.lock`. */
  readonly path: string;
}

/**
 * The hash-chained audit trail of `FileAuditSink` in an SQLite database: table `audit_records` (`seq`,
 * `record`), with the head in `audit_head`. SQLite itself repairs what a crash left behind. A batch is
 * one transaction, which holds up the event loop until the disk has it.
 */
export class SqliteAuditSink extends ChainedAuditSink {
  /**
   * @throws ConfigurationError when an option is wrong or the file is no SQLite database; RpcError
   * `unavailable` when the trail has a writer already, `internal_error` when it is damaged.
   */
  constructor({ path, ...options }: SqliteAuditSinkOptions) {
    super(() => new SqliteTrailStore(path), options);
  }
}
