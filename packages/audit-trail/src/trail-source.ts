import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { EMPTY_HEAD, parseHeadText, type TrailHead } from './record.js';

/** A stored record before it is looked at. */
export interface RawRecord {
  /** Line of the file or row of the table, from 1. */
  readonly line: number;
  readonly bytes: Uint8Array;
  /** False for a last line without its line feed. */
  readonly complete: boolean;
  /** What the table says the record's seq is. */
  readonly rowSeq?: number;
}

/** A trail opened for reading. */
export interface TrailSource {
  /** The head; in words what is wrong with it when it cannot be used. Read before the records. */
  readonly head: TrailHead | string;
  records(): AsyncGenerator<RawRecord>;
  close(): void;
}

const SQLITE_NOTADB = 26;
/** One page of the smallest size. SQLite takes smaller files for empty databases. */
const SMALLEST_DATABASE = 512;

/**
 * Opens a trail, telling a database from a file of lines by its content. Rejects when it cannot be read.
 *
 * SQLite is asked first: to open and close a database's file by other means would take the locks from a
 * sink that has it open in this process (POSIX advisory locks end with any close).
 */
export async function openTrail(path: string): Promise<TrailSource> {
  if ((await stat(path)).size < SMALLEST_DATABASE) return fileSource(path);
  try {
    return sqliteSource(path);
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_NOTADB) return fileSource(path);
    throw error;
  }
}

async function fileSource(path: string): Promise<TrailSource> {
  return { head: await readHeadFile(`${path}.head`), records: () => lines(path), close: () => {} };
}

async function readHeadFile(path: string): Promise<TrailHead | string> {
  try {
    const head = parseHeadText(await readFile(path, 'utf8'));
    return head === undefined ? `the head file '${path}' is malformed` : { seq: head.seq, hash: head.hash };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return `the head file '${path}' is missing, so that nobody can tell whether records were dropped from the end`;
  }
}

async function* lines(path: string): AsyncGenerator<RawRecord> {
  let line = 0;
  let parts: Buffer[] = [];
  for await (const chunk of createReadStream(path, { highWaterMark: 262_144 }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      line += 1;
      yield { line, bytes: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts), complete: true };
      parts = [];
      start = end + 1;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield { line: line + 1, bytes: Buffer.concat(parts), complete: false };
}

function sqliteSource(path: string): TrailSource {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  try {
    // One snapshot for head and records, whatever a writer does meanwhile.
    database.exec('BEGIN');
    return { head: readHeadRow(database), records: () => rows(database), close: () => database.close() };
  } catch (error) {
    database.close();
    throw error;
  }
}

function readHeadRow(database: DatabaseSync): TrailHead | string {
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

async function* rows(database: DatabaseSync): AsyncGenerator<RawRecord> {
  let line = 0;
  for (const row of database.prepare('SELECT seq, CAST(record AS BLOB) AS bytes FROM audit_records ORDER BY seq').iterate()) {
    line += 1;
    const { seq, bytes } = row as { seq: number; bytes: Uint8Array | null };
    yield { line, bytes: bytes ?? new Uint8Array(), complete: true, rowSeq: seq };
  }
}
