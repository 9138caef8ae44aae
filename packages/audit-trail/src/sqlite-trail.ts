import { DatabaseSync } from 'node:sqlite';
import { anchorText, parseAnchor, type TrailAnchor } from './anchor.js';
import { type AuditFilter, FILTER_FIELDS } from './filter.js';
import { EMPTY_HEAD, type TrailHead } from './record.js';
import { eventField } from './sqlite-trail-store.js';
import type { OpenTrail, Pruning, RawRecord, StoredTrail } from './trail.js';
import { WriterLock } from './writer-lock.js';

const SQLITE_NOTADB = 26;

export function isNoDatabase(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === SQLITE_NOTADB;
}

/** The trail of an `SqliteAuditSink`. */
export function sqliteTrail(path: string): StoredTrail {
  return { open: async () => openRows(path), startPruning: async () => startPruning(path) };
}

function openRows(path: string): OpenTrail {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  try {
    // One snapshot for head and records, whatever a writer does meanwhile.
    database.exec('BEGIN');
    return {
      head: readHead(database),
      anchor: readAnchor(database),
      records: (after = 0) => rows(database, '', [], after),
      find: (filter, after) => rows(database, ...conditions(filter), after),
      close: async () => database.close(),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

function readHead(database: DatabaseSync): TrailHead | string {
  const rows = database.prepare('SELECT seq, hash FROM audit_head').all();
  const [row] = rows;
  if (row === undefined) return 'the row of audit_head is missing, so that nobody can tell whether records were dropped from the end';
  const { seq, hash } = row as { seq: unknown; hash: unknown };
  const usable =
    rows.length === 1 &&
    Number.isSafeInteger(seq) &&
    typeof hash === 'string' &&
    (seq !== 0 || hash === EMPTY_HEAD.hash) &&
    hash.length === 64;
  return usable ? { seq: seq as number, hash: hash as string } : 'audit_head is malformed';
}

function readAnchor(database: DatabaseSync): TrailAnchor | string | undefined {
  if (!hasTable(database, 'audit_anchor')) return undefined;
  const rows = database.prepare('SELECT anchor FROM audit_anchor').all() as { anchor: unknown }[];
  if (rows.length === 0) return undefined;
  return parseAnchor(String(rows[0]?.anchor)) ?? 'audit_anchor is malformed';
}

function hasTable(database: DatabaseSync, name: string): boolean {
  return database.prepare(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`).get(name) !== undefined;
}

/** As SQL: the sink has indexes on just these expressions. */
function conditions(filter: AuditFilter): [sql: string, values: (string | number)[]] {
  const parts: string[] = [];
  const values: (string | number)[] = [];
  const add = (sql: string, value: string | number) => {
    parts.push(` AND ${sql} ?`);
    values.push(value);
  };
  for (const field of FILTER_FIELDS) {
    const value = filter[field];
    // What is no text to SQLite is found by looking at every record.
    if (value?.isWellFormed() && !value.includes('\0')) add(`${eventField(field)} =`, value);
  }
  if (filter.from !== undefined) add(`${eventField('time')} >=`, filter.from);
  if (filter.to !== undefined) add(`${eventField('time')} <`, filter.to);
  return [parts.join(''), values];
}

async function* rows(database: DatabaseSync, where: string, values: (string | number)[], after: number): AsyncGenerator<RawRecord> {
  let line = 0;
  const sql = `SELECT seq, CAST(record AS BLOB) AS bytes FROM audit_records WHERE seq > ?${where} ORDER BY seq`;
  for (const row of database.prepare(sql).iterate(after, ...values)) {
    line += 1;
    const { seq, bytes } = row as { seq: number; bytes: Uint8Array | null };
    const rowFault: RawRecord['rowFault'] = (record) => (record.seq === seq ? undefined : `it is stored as record ${seq}`);
    yield { line, bytes: bytes ?? new Uint8Array(), complete: true, rowFault };
  }
}

function startPruning(path: string): Pruning {
  const pruner = new WriterLock(`${path}.anchor`, 'is being pruned already');
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(path, { timeout: 5_000 });
  } catch (error) {
    pruner.release();
    throw error;
  }
  try {
    database.exec('PRAGMA synchronous = FULL; SELECT 1 FROM audit_head');
  } catch (error) {
    database.close();
    pruner.release();
    throw error;
  }
  return {
    limit: Number.MAX_SAFE_INTEGER,
    cut: async (anchor) => {
      database.exec('BEGIN IMMEDIATE');
      try {
        database.prepare('INSERT OR REPLACE INTO audit_anchor (id, anchor) VALUES (1, ?)').run(anchorText(anchor));
        database.prepare('DELETE FROM audit_records WHERE seq <= ?').run(anchor.seq);
        database.exec('COMMIT');
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK');
        throw error;
      }
    },
    release: async () => {
      database.close();
      pruner.release();
    },
  };
}
