import { DatabaseSync } from 'node:sqlite';
import { ConfigurationError } from '@mcp-blocks/core';
import { parseAnchor } from './anchor.js';
import { damaged } from './damage.js';
import { EMPTY_HEAD, isFault, parseRecord, type TrailHead } from './record.js';
import type { TrailStore } from './trail-store.js';
import { WriterLock } from './writer-lock.js';

/** A trail as a table of an SQLite database, with its head in another; both change in one transaction. */
export class SqliteTrailStore implements TrailStore {
  readonly head: TrailHead;
  readonly #lock: WriterLock;
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#lock = new WriterLock(path);
    try {
      this.#database = openDatabase(path);
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    try {
      this.head = this.#openHead(path);
    } catch (error) {
      this.#database.close();
      this.#lock.release();
      throw error;
    }
  }

  async append(records: readonly string[], head: TrailHead): Promise<void> {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const insert = this.#database.prepare('INSERT INTO audit_records (seq, record) VALUES (?, ?)');
      for (const [index, record] of records.entries()) insert.run(head.seq - records.length + 1 + index, record);
      this.#database.prepare('UPDATE audit_head SET seq = ?, hash = ?').run(head.seq, head.hash);
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#database.close();
    this.#lock.release();
  }

  #openHead(path: string): TrailHead {
    const head = this.#database.prepare('SELECT seq, hash FROM audit_head').get() as unknown as TrailHead | undefined;
    const last = this.#database.prepare('SELECT seq, CAST(record AS BLOB) AS bytes FROM audit_records ORDER BY seq DESC LIMIT 1').get();
    if (head === undefined) {
      if (last !== undefined) throw damaged(path, 'its head is missing');
      this.#database.prepare('INSERT INTO audit_head (id, seq, hash) VALUES (1, ?, ?)').run(EMPTY_HEAD.seq, EMPTY_HEAD.hash);
      return EMPTY_HEAD;
    }
    if (last === undefined && this.#isAllPruned(head)) return { seq: head.seq, hash: head.hash };
    if ((last?.seq ?? 0) !== head.seq) throw damaged(path, `it ends at record ${last?.seq ?? 0}, its head names ${head.seq}`);
    if (last !== undefined) {
      const record = parseRecord(last.bytes as Uint8Array);
      if (isFault(record) || record.seq !== head.seq || record.hash !== head.hash)
        throw damaged(path, `record ${head.seq} is not the one its head names`);
    }
    return { seq: head.seq, hash: head.hash };
  }

  #isAllPruned(head: TrailHead): boolean {
    const row = this.#database.prepare('SELECT anchor FROM audit_anchor').get() as { anchor: string } | undefined;
    const anchor = row === undefined ? undefined : parseAnchor(row.anchor);
    return anchor?.seq === head.seq && anchor.hash === head.hash;
  }
}

/** A member of a row's event in SQL; NULL in a row that is no JSON, which must not keep anybody from writing. */
export function eventField(name: string): string {
  return `(CASE WHEN json_valid(record) THEN json_extract(record, '$.event.${name}') END)`;
}

/** What queries are quick for. */
const INDEXED = ['actor', 'type', 'target', 'time'] as const;

function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 5_000 });
    // With FULL, a commit in WAL mode is on the disk when it returns.
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS audit_records (seq INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS audit_head (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS audit_anchor (id INTEGER PRIMARY KEY CHECK (id = 1), anchor TEXT NOT NULL) STRICT;
      ${INDEXED.map((name) => `CREATE INDEX IF NOT EXISTS audit_records_${name} ON audit_records (${eventField(name)}, seq);`).join('\n')}
    `);
    return database;
  } catch (cause) {
    if (database?.isOpen) database.close();
    throw new ConfigurationError('path', `'${path}' cannot be opened as an SQLite database: ${(cause as Error).message}`);
  }
}
