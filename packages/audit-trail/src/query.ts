import { ConfigurationError } from '@mcp-blocks/core';
import { type AuditFilter, checkFilter, matches } from './filter.js';
import { trailOf } from './open-trail.js';
import { intact } from './read.js';
import type { AuditRecord } from './record.js';
import type { StoredTrail } from './trail.js';

/** What to look for, and how much of it. */
export interface AuditQuery extends AuditFilter {
  /** Most records in the answer, 1 to 10,000. Default: 100. */
  readonly limit?: number;
  /** Where the last page ended. */
  readonly cursor?: string;
}

/** One page of what was found. */
export interface AuditPage {
  /** In stored order, the oldest first. */
  readonly records: readonly AuditRecord[];
  /** For the next page; absent when there is none. Stays good while the trail grows and is pruned. */
  readonly cursor?: string;
}

/**
 * Finds records of a trail (its path, or a stored trail). SQLite and PostgreSQL have indexes on actor,
 * type, target and time; files are read through.
 *
 * Every record is checked against its own hash, the chain is not: an index that was tampered with can
 * hide records, which `verifyAuditTrail` does not rely on.
 *
 * @throws ConfigurationError when a member of the query is wrong; RpcError `internal_error` at a record
 * that is malformed or changed.
 */
export async function queryAuditTrail(source: string | StoredTrail, query: AuditQuery = {}): Promise<AuditPage> {
  const { limit = 100, cursor, ...filter } = query;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > 10_000) {
    throw new ConfigurationError('limit', `expected an integer from 1 to 10,000, got ${limit}`);
  }
  if (cursor !== undefined && !/^\d{1,15}$/.test(cursor))
    throw new ConfigurationError('cursor', `expected one of an earlier page, got '${cursor}'`);
  const records: AuditRecord[] = [];
  for await (const record of findRecords(source, filter, Number(cursor ?? 0))) {
    if (records.length === limit) return { records, cursor: String(records.at(-1)?.seq) };
    records.push(record);
  }
  return { records };
}

/** The records after `after` that match, as a stream. */
export async function* findRecords(source: string | StoredTrail, filter: AuditFilter, after = 0): AsyncGenerator<AuditRecord> {
  checkFilter(filter);
  const trail = await trailOf(source).open();
  try {
    for await (const record of intact(trail.find?.(filter, after) ?? trail.records(after))) {
      if (record.seq > after && matches(filter, record.event)) yield record;
    }
  } finally {
    await trail.close();
  }
}
