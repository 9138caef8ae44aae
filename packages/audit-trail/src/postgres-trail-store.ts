import { RpcError } from '@mcp-blocks/core';
import type { Client } from 'pg';
import { parseAnchor } from './anchor.js';
import { damaged } from './damage.js';
import type { FILTER_FIELDS } from './filter.js';
import { connectPostgres, type PostgresOptions } from './postgres-connection.js';
import { type AuditRecord, EMPTY_HEAD, isFault, parseRecord, type TrailHead } from './record.js';
import type { TrailStore } from './trail-store.js';

/** An index entry has at most 2,704 bytes, and a record with a larger one could never be added. This many UTF-16 units always fit. */
const MAX_COLUMN_LENGTH = 512;

/**
 * What of a record stands in columns beside it, of long text the beginning. PostgreSQL has no text with NUL or half a
 * surrogate pair.
 */
export function columnsOf({ event }: AuditRecord): Record<'time' | (typeof FILTER_FIELDS)[number], string | number | null> {
  const text = (value: string | undefined) => value?.slice(0, MAX_COLUMN_LENGTH).toWellFormed().replaceAll('\0', '\uFFFD') ?? null;
  return { time: event.time, actor: text(event.actor), type: text(event.type), target: text(event.target), outcome: text(event.outcome) };
}

/** A trail as tables of a PostgreSQL database, which this needs INSERT and SELECT on. */
export class PostgresTrailStore implements TrailStore {
  readonly head: TrailHead;
  readonly #options: PostgresOptions;
  readonly #schema: string;
  #client: Client | undefined;
  #last: TrailHead;

  private constructor(options: PostgresOptions, client: Client, head: TrailHead) {
    this.#options = options;
    this.#schema = options.schema ?? 'mcp_audit';
    this.#client = client;
    this.head = head;
    this.#last = head;
  }

  static async open(options: PostgresOptions): Promise<PostgresTrailStore> {
    const client = await connectPostgres(options);
    try {
      return new PostgresTrailStore(options, client, await takeOver(client, options));
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  async append(records: readonly string[], head: TrailHead): Promise<void> {
    let fresh = records;
    if (this.#client === undefined) {
      this.#client = await connectPostgres(this.#options);
      try {
        fresh = await this.#missing(records, head);
      } catch (error) {
        this.#drop();
        throw error;
      }
    }
    try {
      if (fresh.length > 0) await this.#insert(this.#client, fresh, head);
      this.#last = head;
    } catch (error) {
      // Whether it was committed shows when the connection is back.
      this.#drop();
      throw error;
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    void client?.end().catch(() => {});
  }

  /** After a lost connection: which of the records are not there, although they may have been committed. */
  async #missing(records: readonly string[], head: TrailHead): Promise<readonly string[]> {
    const stored = await takeOver(this.#client as Client, this.#options);
    const done = records.length - (head.seq - stored.seq);
    if (done === 0 && stored.hash === this.#last.hash) return records;
    const last = done > 0 && done <= records.length ? parseRecord(Buffer.from(records[done - 1] as string)) : undefined;
    if (last !== undefined && !isFault(last) && last.hash === stored.hash) return records.slice(done);
    throw damaged(`${this.#schema}.audit_records`, `it ends at record ${stored.seq}, which this sink did not write`);
  }

  async #insert(client: Client, records: readonly string[], head: TrailHead): Promise<void> {
    const parsed = records.map((text) => ({ text, record: parseRecord(Buffer.from(text)) as AuditRecord }));
    const columns = parsed.map(({ record }) => columnsOf(record));
    const { rows } = await client.query(
      `WITH added AS (
         INSERT INTO ${this.#schema}.audit_records (seq, record, time, actor, type, outcome, target)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::text[], $5::text[], $6::text[], $7::text[]) RETURNING 1)
       INSERT INTO ${this.#schema}.audit_heads (seq, hash) VALUES ($8, $9) RETURNING (SELECT count(*) FROM added) AS added`,
      [
        parsed.map(({ record }) => record.seq),
        parsed.map(({ text }) => text),
        ...(['time', 'actor', 'type', 'outcome', 'target'] as const).map((name) => columns.map((row) => row[name])),
        head.seq,
        head.hash,
      ],
    );
    if (Number((rows[0] as { added: string }).added) !== records.length) throw new Error('not every record was added');
  }
}

/** Makes this connection the trail's one writer, until it ends; reads where the trail ends. */
async function takeOver(client: Client, { schema = 'mcp_audit' }: PostgresOptions): Promise<TrailHead> {
  const lock = await client.query('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked', [`mcp-blocks-audit:${schema}`]);
  if (!(lock.rows[0] as { locked: boolean }).locked) {
    throw new RpcError('unavailable', `The audit trail in schema ${schema} has a writer already; a trail has one at a time`);
  }
  // Whatever the database's default: acknowledged means on the disk.
  await client.query('SET synchronous_commit = on');
  const { rows } = await client.query(
    `SELECT (SELECT row_to_json(h) FROM (SELECT seq, hash FROM ${schema}.audit_heads ORDER BY seq DESC LIMIT 1) h) AS head,
            (SELECT record FROM ${schema}.audit_records ORDER BY seq DESC LIMIT 1) AS last,
            (SELECT anchor FROM ${schema}.audit_anchors ORDER BY seq DESC LIMIT 1) AS anchor`,
  );
  const { head, last, anchor } = rows[0] as { head: TrailHead | null; last: string | null; anchor: string | null };
  const where = `${schema}.audit_records`;
  if (head === null) {
    if (last !== null) throw damaged(where, 'its head is missing');
    return EMPTY_HEAD;
  }
  const end = last === null ? parseAnchor(anchor ?? '') : parseRecord(Buffer.from(last));
  if (end === undefined || 'kind' in end || end.seq !== head.seq || end.hash !== head.hash) {
    throw damaged(where, `it does not end with record ${head.seq}, which its head names`);
  }
  return { seq: head.seq, hash: head.hash };
}
