import { closeSync, copyFileSync, openSync, readFileSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { ChainedAuditSink } from '@mcp-blocks/audit-trail';
import type { AuditEvent } from '@mcp-blocks/core';

export const DAMAGES = ['flipped', 'dropped', 'repeated', 'swapped', 'rewritten'] as const;
export type DamageKind = (typeof DAMAGES)[number];

/** What the verifier has to say about a damage. */
export interface Expected {
  readonly seq: number;
  readonly kinds: readonly string[];
}

/** A trail that can be damaged and mended again. */
export interface Damageable {
  /** @param random - numbers in [0, 1). */
  damage(kind: DamageKind, random: () => number): Expected;
  mend(): void;
  close(): void;
}

/** The damages are stated on the records alone: what stands where, afterwards. */
function plan(kind: DamageKind, records: readonly Buffer[], random: () => number): { edits: Map<number, Buffer[]>; expected: Expected } {
  const pick = (from: number, to: number) => from + Math.floor(random() * (to - from));
  const length = records.length;
  const at = pick(0, length);
  const record = records[at] as Buffer;
  const edits = new Map<number, Buffer[]>();
  if (kind === 'flipped') {
    const flipped = Buffer.from(record);
    const byte = pick(0, flipped.length);
    flipped[byte] = (flipped[byte] as number) ^ (1 << pick(0, 8));
    edits.set(at, [flipped]);
    return { edits, expected: { seq: at + 1, kinds: ['changed', 'malformed'] } };
  }
  if (kind === 'dropped') {
    edits.set(at, []);
    return { edits, expected: { seq: at + 1, kinds: [at === length - 1 ? 'truncated' : 'missing'] } };
  }
  if (kind === 'repeated') {
    const after = pick(at, length);
    edits.set(after, [records[after] as Buffer, record]);
    return { edits, expected: { seq: after + 2, kinds: ['duplicate'] } };
  }
  if (kind === 'swapped') {
    const first = Math.min(at, length - 2);
    const second = pick(first + 1, length);
    edits.set(first, [records[second] as Buffer]).set(second, [records[first] as Buffer]);
    return { edits, expected: { seq: first + 1, kinds: ['reordered'] } };
  }
  // Somebody changes an event and makes its own hash right: only the record after it tells.
  const first = Math.min(at, length - 2);
  edits.set(first, [rewritten(records[first] as Buffer)]);
  return { edits, expected: { seq: first + 2, kinds: ['changed'] } };
}

/** The record with another actor and the hash that belongs to it. */
function rewritten(record: Buffer): Buffer {
  const { event, prev, seq } = JSON.parse(record.toString()) as { event: AuditEvent; prev: string; seq: number };
  let text = '';
  const head = { seq: seq - 1, hash: prev };
  const sink = new ChainedAuditSink(() => ({
    head,
    append: async ([first]) => {
      text = first as string;
    },
    close: async () => {},
  }));
  sink.record({ ...event, actor: 'mallory' });
  // The store is called before flush returns.
  void sink.flush();
  return Buffer.from(text);
}

export function damageableFile(path: string): Damageable {
  const original = `${path}.original`;
  copyFileSync(path, original);
  const bytes = readFileSync(path);
  const starts = [0];
  for (let feed = bytes.indexOf(10); feed !== -1; feed = bytes.indexOf(10, feed + 1)) starts.push(feed + 1);
  const records = starts.slice(0, -1).map((start, index) => bytes.subarray(start, (starts[index + 1] as number) - 1));
  return {
    damage(kind, random) {
      const { edits, expected } = plan(kind, records, random);
      const file = openSync(path, 'w');
      let from = 0;
      for (const [index, lines] of [...edits].sort(([a], [b]) => a - b)) {
        write(file, bytes.subarray(from, starts[index]));
        for (const line of lines) write(file, Buffer.concat([line, Buffer.from('\n')]));
        from = starts[index + 1] as number;
      }
      write(file, bytes.subarray(from));
      closeSync(file);
      return expected;
    },
    mend: () => copyFileSync(original, path),
    close: () => {},
  };
}

function write(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

export function damageableDatabase(path: string): Damageable {
  const database = new DatabaseSync(path);
  database.exec('PRAGMA synchronous = OFF');
  const rows = database.prepare('SELECT CAST(record AS BLOB) AS bytes FROM audit_records ORDER BY seq').all();
  const records = rows.map(({ bytes }) => Buffer.from(bytes as Uint8Array));
  const put = database.prepare('INSERT OR REPLACE INTO audit_records (seq, record) VALUES (?, CAST(? AS TEXT))');
  const drop = database.prepare('DELETE FROM audit_records WHERE seq = ?');
  let touched: number[] = [];
  return {
    damage(kind, random) {
      const { edits, expected } = plan(kind, records, random);
      for (const [index, [first, second]] of edits) {
        if (first === undefined) drop.run(index + 1);
        else put.run(index + 1, first);
        // A row cannot be put between two others: it takes the place of the next one.
        if (second !== undefined) put.run(index + 2, second);
        touched.push(index + 1, ...(second === undefined ? [] : [index + 2]));
      }
      return expected;
    },
    mend() {
      for (const seq of touched) {
        if (seq > records.length) drop.run(seq);
        else put.run(seq, records[seq - 1] as Buffer);
      }
      touched = [];
    },
    close: () => database.close(),
  };
}
