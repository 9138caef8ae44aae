import { checkAnchorKey, isSignedWith, type TrailAnchor } from './anchor.js';
import { trailOf } from './open-trail.js';
import { type AuditRecord, EMPTY_HEAD, isFault, mayBe, parseRecord, type TrailHead } from './record.js';
import type { OpenTrail, RawRecord, StoredTrail } from './trail.js';

/** The first thing found wrong with a trail. */
export interface AuditProblem {
  /** The seq of the record that is wrong, or would have been there. */
  readonly seq: number;
  /** Line of the file or row of the table, from 1, where it shows. */
  readonly line: number;
  /** Which file of the trail, where it has several. */
  readonly file?: string;
  readonly kind: 'changed' | 'missing' | 'reordered' | 'duplicate' | 'malformed' | 'truncated' | 'anchor';
  /** One sentence for people. */
  readonly message: string;
}

/** What verification found. */
export type AuditVerification =
  | {
      readonly ok: true;
      /** Records that are there, all of them in order and intact. */
      readonly records: number;
      readonly head: TrailHead;
      /** Records after the stored head: 0 on a closed trail, some while one is written or after a crash. */
      readonly unanchored: number;
      /** What was pruned, if anything: records 1 to `seq`, the last pruning at `time`. */
      readonly pruned?: TrailAnchor;
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
  /** The key that prunings were signed with, at least 16 characters: an anchor that is not signed with it is a problem. */
  readonly anchorKey?: string;
}

/**
 * Checks a trail (its path, or a stored trail) record by record, without loading it: every record against
 * its own hash and the record before, the first against what was pruned, the last against the head. A trail
 * may be verified while it is written.
 *
 * Rejects when the trail cannot be read at all, and with ConfigurationError for an `anchorKey` that is none.
 */
export async function verifyAuditTrail(source: string | StoredTrail, options: VerifyOptions = {}): Promise<AuditVerification> {
  checkAnchorKey(options.anchorKey);
  const trail = await trailOf(source).open();
  try {
    return await verifyOpen(trail, options);
  } finally {
    await trail.close();
  }
}

/** @param onRecord - called with every record that is in order and intact. */
export async function verifyOpen(
  trail: OpenTrail,
  { publishedHead: published, anchorKey }: VerifyOptions,
  onRecord: (record: AuditRecord) => void = () => {},
): Promise<AuditVerification> {
  const { head, anchor } = trail;
  let last: TrailHead = typeof anchor === 'object' ? anchor : EMPTY_HEAD;
  let count = 0;
  let place: { line: number; file?: string } = { line: 0 };
  const fail = (kind: AuditProblem['kind'], message: string, at = place): AuditVerification => ({
    ok: false,
    records: count,
    problem: { seq: last.seq + 1, line: at.line, ...(at.file === undefined ? {} : { file: at.file }), kind, message },
  });
  const untrusted = faultOfAnchor(anchor, published, anchorKey);
  if (untrusted !== undefined) return fail('anchor', untrusted);
  const known = [head, published, anchor].filter((one) => typeof one === 'object');
  const end = Math.max(0, ...known.map(({ seq }) => seq));
  const records = trail.records();
  try {
    for await (const raw of records) {
      place = { line: raw.line, ...(raw.file === undefined ? {} : { file: raw.file }) };
      // A record being written, or cut by a crash; the sink repairs the latter at its next start.
      if (!raw.complete && last.seq >= end) break;
      const record = raw.complete ? parseRecord(raw.bytes) : ({ kind: 'malformed', message: 'its line is not complete' } as const);
      if (isFault(record)) return fail(record.kind, `record ${last.seq + 1} is ${record.kind}: ${record.message}`);
      // A pruning that did not come to its end left these; the anchor says what the last of them is.
      if (count === 0 && record.seq <= last.seq) last = { seq: record.seq - 1, hash: record.prev };
      const seq = last.seq + 1;
      if (record.seq < seq) return fail('duplicate', `record ${record.seq} is here again, where record ${seq} belongs`);
      if (record.seq > seq) {
        const found = await placeOf(seq, records);
        if (found === undefined) return fail('missing', `record ${seq} is missing: record ${record.seq} follows ${last.seq}`);
        return fail('reordered', `record ${seq} is out of order: it comes at ${found}, after record ${record.seq}`);
      }
      const fault = faultInChain(record, raw, last, known);
      if (fault !== undefined) return fail('changed', `record ${seq} is changed: ${fault}`);
      last = { seq, hash: record.hash };
      count += 1;
      onRecord(record);
    }
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return fail('malformed', `the database is malformed after record ${last.seq}: ${(error as Error).message}`, after(place));
  }
  if (last.seq < end) {
    return fail('truncated', `the trail is truncated: it ends at record ${last.seq}, and record ${end} was there`, after(place));
  }
  if (typeof head === 'string') return fail('truncated', `the trail may be truncated: ${head}`, after(place));
  const pruned = typeof anchor === 'object' ? { pruned: anchor } : {};
  return { ok: true, records: count, head: { seq: last.seq, hash: last.hash }, unanchored: last.seq - head.seq, ...pruned };
}

function after({ line, ...file }: { line: number; file?: string }) {
  return { line: line + 1, ...file };
}

function faultOfAnchor(anchor: OpenTrail['anchor'], published: TrailHead | undefined, key: string | undefined): string | undefined {
  if (anchor === undefined) return undefined;
  if (typeof anchor === 'string') return `what was pruned cannot be told: ${anchor}`;
  if (key !== undefined && !isSignedWith(anchor, key)) return `records 1 to ${anchor.seq} were pruned by somebody without the key`;
  if (published === undefined || published.seq > anchor.seq) return undefined;
  if (published.seq < anchor.seq) return `record ${published.seq}, known from elsewhere, was pruned with all up to ${anchor.seq}`;
  return published.hash === anchor.hash ? undefined : `record ${anchor.seq}, the last one pruned, is not the one known from elsewhere`;
}

function faultInChain(record: AuditRecord, raw: RawRecord, last: TrailHead, known: readonly TrailHead[]): string | undefined {
  if (record.prev !== last.hash) return 'it does not continue the record before it';
  if (known.some(({ seq, hash }) => seq === record.seq && hash !== record.hash)) return 'it is not the record that the head names';
  return raw.rowFault?.(record);
}

/** Where an intact record stands further on. */
async function placeOf(seq: number, records: AsyncIterable<RawRecord>): Promise<string | undefined> {
  for await (const { bytes, line, file } of records) {
    if (!mayBe(seq, bytes)) continue;
    const record = parseRecord(bytes);
    if (!isFault(record) && record.seq === seq) return `${file === undefined ? '' : `${file}, `}line ${line}`;
  }
  return undefined;
}

function isCorruption(error: unknown): boolean {
  // SQLITE_CORRUPT and SQLITE_NOTADB, also as extended codes.
  const { errcode } = error as { errcode?: number };
  return errcode !== undefined && [11, 26].includes(errcode & 0xff);
}
