import type { Client } from 'pg';
import { anchorText, parseAnchor } from './anchor.js';
import { type AuditFilter, FILTER_FIELDS } from './filter.js';
import { checkPostgresOptions, connectPostgres, type PostgresOptions } from './postgres-connection.js';
import { columnsOf } from './postgres-trail-store.js';
import { type AuditRecord, EMPTY_HEAD, type TrailHead } from './record.js';
import type { OpenTrail, Pruning, RawRecord, StoredTrail } from './trail.js';

const PAGE = 1_000;

/**
 * The trail of a `PostgresAuditSink`, for `verifyAuditTrail`, `readAuditTrail`, `queryAuditTrail` and
 * `exportAuditTrail`, for which SELECT is enough, and `pruneAuditTrail`, for which the tables' owner has to log in.
 * @throws ConfigurationError when an option is wrong.
 */
export function postgresTrail(options: PostgresOptions): StoredTrail {
  checkPostgresOptions(options);
  const schema = options.schema ?? 'mcp_audit';
  return { open: () => openTables(options, schema), startPruning: () => startPruning(options, schema) };
}

async function openTables(options: PostgresOptions, schema: string): Promise<OpenTrail> {
  const client = await connectPostgres(options);
  try {
    // One snapshot for head and records, whatever a writer does meanwhile.
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const heads = await client.query(
      `SELECT seq, hash FROM ${schema}.audit_heads
       UNION ALL SELECT 0, '' WHERE EXISTS (SELECT FROM ${schema}.audit_records) ORDER BY seq DESC LIMIT 1`,
    );
    const anchors = await client.query(`SELECT anchor FROM ${schema}.audit_anchors ORDER BY seq DESC LIMIT 1`);
    const records = (filter: AuditFilter, after: number) => rows(client, schema, filter, after);
    return {
      head: headOf(heads.rows[0] as { seq: string; hash: string } | undefined),
      anchor:
        anchors.rows.length === 0
          ? undefined
          : (parseAnchor((anchors.rows[0] as { anchor: string }).anchor) ?? 'audit_anchors is malformed'),
      records: (after = 0) => records({}, after),
      find: records,
      close: () => client.end(),
    };
  } catch (error) {
    await client.end();
    throw error;
  }
}

function headOf(row: { seq: string; hash: string } | undefined): TrailHead | string {
  if (row === undefined) return EMPTY_HEAD;
  const seq = Number(row.seq);
  if (seq === 0) return 'audit_heads is empty, so that nobody can tell whether records were dropped from the end';
  return Number.isSafeInteger(seq) && /^[0-9a-f]{64}$/.test(row.hash) ? { seq, hash: row.hash } : 'audit_heads is malformed';
}

async function* rows(client: Client, schema: string, filter: AuditFilter, after: number): AsyncGenerator<RawRecord> {
  const wanted = columnsOf({ event: { time: 0, ...filter } } as unknown as AuditRecord);
  const values: (string | number)[] = [];
  const parts: string[] = [];
  const add = (sql: string, value: string | number) => {
    values.push(value);
    parts.push(` AND ${sql} $${values.length + 2}`);
  };
  for (const field of FILTER_FIELDS) if (filter[field] !== undefined) add(`${field} =`, wanted[field] as string);
  if (filter.from !== undefined) add('time >=', filter.from);
  if (filter.to !== undefined) add('time <', filter.to);
  const sql = `SELECT seq, record, time, actor, type, outcome, target FROM ${schema}.audit_records WHERE seq > $1${parts.join('')} ORDER BY seq LIMIT $2`;
  let line = 0;
  for (let last = after; ; ) {
    const page = (await client.query(sql, [last, PAGE, ...values])).rows as ({ seq: string; record: string } & ReturnType<
      typeof columnsOf
    >)[];
    for (const { seq, record: text, ...columns } of page) {
      line += 1;
      last = Number(seq);
      const rowSeq = last;
      const rowFault: RawRecord['rowFault'] = (record) => {
        if (record.seq !== rowSeq) return `it is stored as record ${rowSeq}`;
        const right = columnsOf(record);
        const wrong = (Object.keys(right) as (keyof typeof right)[]).find((name) => columns[name] !== right[name]);
        return wrong === undefined ? undefined : `its column ${wrong} does not say what it says`;
      };
      yield { line, bytes: Buffer.from(text, 'utf8'), complete: true, rowFault };
    }
    if (page.length < PAGE) return;
  }
}

async function startPruning(options: PostgresOptions, schema: string): Promise<Pruning> {
  const client = await connectPostgres(options);
  return {
    limit: Number.MAX_SAFE_INTEGER,
    cut: async (anchor) => {
      await client.query('BEGIN');
      try {
        // Waits for writers, and other prunings; the end of the transaction, however it comes, brings the triggers back.
        for (const table of ['audit_records', 'audit_heads', 'audit_anchors']) {
          await client.query(`ALTER TABLE ${schema}.${table} DISABLE TRIGGER append_only`);
        }
        const { rowCount } = await client.query(`SELECT 1 FROM ${schema}.audit_anchors WHERE seq > $1`, [anchor.seq]);
        if (rowCount !== 0) throw new Error('the trail was pruned further meanwhile');
        await client.query(`DELETE FROM ${schema}.audit_records WHERE seq <= $1`, [anchor.seq]);
        await client.query(`DELETE FROM ${schema}.audit_heads WHERE seq <= $1 AND seq < (SELECT max(seq) FROM ${schema}.audit_heads)`, [
          anchor.seq,
        ]);
        await client.query(`DELETE FROM ${schema}.audit_anchors`);
        await client.query(`INSERT INTO ${schema}.audit_anchors (seq, anchor) VALUES ($1, $2)`, [anchor.seq, anchorText(anchor)]);
        for (const table of ['audit_records', 'audit_heads', 'audit_anchors']) {
          await client.query(`ALTER TABLE ${schema}.${table} ENABLE TRIGGER append_only`);
        }
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK').catch(() => {});
        throw error;
      }
    },
    release: () => client.end(),
  };
}
