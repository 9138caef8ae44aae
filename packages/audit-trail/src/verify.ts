import { type AuditRecord, EMPTY_HEAD, isFault, parseRecord, type TrailHead } from './record.js';
import { openTrail, type RawRecord, type TrailSource } from './trail-source.js';

/** The first thing found wrong with a trail. */
export interface AuditProblem {
  /** The seq of the record that is wrong, or would have been there. */
  readonly seq: number;
  /** Line of the file or row of the table, from 1, where it shows. */
  readonly line: number;
  readonly kind: 'changed' | 'missing' | 'reordered' | 'duplicate' | 'malformed' | 'truncated';
  /** One sentence for people. */
  readonly message: string;
}

/** What verification found. */
export type AuditVerification =
  | {
      readonly ok: true;
      readonly records: number;
      readonly head: TrailHead;
      /** Records after the stored head: 0 on a closed trail, some while one is written or after a crash. */
      readonly unanchored: number;
    }
  | {
      readonly ok: false;
      /** Records in order and intact before the problem. */
      readonly records: number;
      readonly problem: AuditProblem;
    };

/** Options of {@link verifyAuditTrail}. */
export interface VerifyOptions {
  /** A head known from elsewhere: the trail must contain this very record. */
  readonly publishedHead?: TrailHead;
}

/**
 * Checks a trail (file or SQLite database) record by record, without loading it: every record against its
 * own hash and the record before, the last against the head. A trail may be verified while it is written.
 *
 * Rejects when the trail cannot be read at all.
 */
export async function verifyAuditTrail(path: string, options: VerifyOptions = {}): Promise<AuditVerification> {
  const source = await openTrail(path);
  try {
    return await check(source, options.publishedHead);
  } finally {
    source.close();
  }
}

async function check(source: TrailSource, published: TrailHead | undefined): Promise<AuditVerification> {
  const anchors = [source.head, published].filter((head) => typeof head === 'object');
  const anchored = Math.max(0, ...anchors.map(({ seq }) => seq));
  let last: TrailHead = EMPTY_HEAD;
  const fail = (kind: AuditProblem['kind'], line: number, message: string): AuditVerification => ({
    ok: false,
    records: last.seq,
    problem: { seq: last.seq + 1, line, kind, message },
  });
  const records = source.records();
  let line = 0;
  try {
    for await (const raw of records) {
      line = raw.line;
      const seq = last.seq + 1;
      // A record being written, or cut by a crash; the sink repairs the latter at its next start.
      if (!raw.complete && last.seq >= anchored) break;
      const record = raw.complete ? parseRecord(raw.bytes) : ({ kind: 'malformed', message: 'its line is not complete' } as const);
      if (isFault(record)) return fail(record.kind, line, `record ${seq} is ${record.kind}: ${record.message}`);
      if (record.seq < seq) return fail('duplicate', line, `record ${record.seq} is here again, where record ${seq} belongs`);
      if (record.seq > seq) {
        const found = await lineOf(seq, records);
        if (found === undefined) return fail('missing', line, `record ${seq} is missing: record ${record.seq} follows ${last.seq}`);
        return fail('reordered', line, `record ${seq} is out of order: it comes at line ${found}, after record ${record.seq}`);
      }
      const fault = faultInChain(record, raw, last, anchors);
      if (fault !== undefined) return fail('changed', line, `record ${seq} is changed: ${fault}`);
      last = { seq, hash: record.hash };
    }
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return fail('malformed', line + 1, `the database is malformed after record ${last.seq}: ${(error as Error).message}`);
  }
  if (last.seq < anchored) {
    return fail('truncated', line + 1, `the trail is truncated: it ends at record ${last.seq}, and record ${anchored} was there`);
  }
  if (typeof source.head === 'string') return fail('truncated', line + 1, `the trail may be truncated: ${source.head}`);
  return { ok: true, records: last.seq, head: last, unanchored: last.seq - source.head.seq };
}

function faultInChain(record: AuditRecord, raw: RawRecord, last: TrailHead, anchors: readonly TrailHead[]): string | undefined {
  if (record.prev !== last.hash) return 'it does not continue the record before it';
  if (raw.rowSeq !== undefined && raw.rowSeq !== record.seq) return `it is stored as record ${raw.rowSeq}`;
  if (anchors.some(({ seq, hash }) => seq === record.seq && hash !== record.hash)) return 'it is not the record that the head names';
  return undefined;
}

/** The line of an intact record further on. */
async function lineOf(seq: number, records: AsyncIterable<RawRecord>): Promise<number | undefined> {
  for await (const { bytes, line } of records) {
    const record = parseRecord(bytes);
    if (!isFault(record) && record.seq === seq) return line;
  }
  return undefined;
}

function isCorruption(error: unknown): boolean {
  // SQLITE_CORRUPT and SQLITE_NOTADB, also as extended codes.
  const { errcode } = error as { errcode?: number };
  return errcode !== undefined && [11, 26].includes(errcode & 0xff);
}
