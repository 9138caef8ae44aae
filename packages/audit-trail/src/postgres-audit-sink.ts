import { isRpcError, RpcError } from '@mcp-blocks/core';
import { ChainedAuditSink, type ChainedAuditSinkOptions } from './chained-audit-sink.js';
import { checkPostgresOptions, type PostgresOptions } from './postgres-connection.js';
import { PostgresTrailStore } from './postgres-trail-store.js';

/** Options of {@link PostgresAuditSink.open}. */
export interface PostgresAuditSinkOptions extends ChainedAuditSinkOptions, PostgresOptions {}

/**
 * The hash-chained audit trail in PostgreSQL, in tables that its login may only add to. Make them with
 * `postgresAuditSchema` first. Needs the package `pg`.
 *
 * While the database is away, events are kept and tried again as with every chained sink; a lost
 * connection is made anew, and what was committed although its answer was lost is not written twice.
 */
export class PostgresAuditSink extends ChainedAuditSink {
  private constructor(store: PostgresTrailStore, options: ChainedAuditSinkOptions) {
    super(() => store, options);
  }

  /**
   * Connects and reads where the trail ends.
   * @throws ConfigurationError when an option is wrong; RpcError `unavailable` when the database cannot be
   * used or the trail has a writer already, `internal_error` when the trail is damaged.
   */
  static async open(options: PostgresAuditSinkOptions): Promise<PostgresAuditSink> {
    checkPostgresOptions(options);
    let store: PostgresTrailStore;
    try {
      store = await PostgresTrailStore.open(options);
    } catch (cause) {
      if (isRpcError(cause)) throw cause;
      throw new RpcError('unavailable', 'The database of the audit trail cannot be used', { cause });
    }
    try {
      return new PostgresAuditSink(store, options);
    } catch (error) {
      await store.close();
      throw error;
    }
  }
}
