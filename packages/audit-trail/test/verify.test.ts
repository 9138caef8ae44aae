import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { AuditEvent, JsonObject } from '@mcp-blocks/core';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type AuditVerification, readAuditTrail, verifyAuditTrail } from '../src/index.js';
import { event, KINDS, type Kind, openSink, temporaryFolder } from './trails.js';

const details = fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 });
const events = fc.array(
  fc.record({ time: fc.nat(), actor: fc.string({ maxLength: 8, unit: 'binary' }), details: details as fc.Arbitrary<JsonObject> }),
  { minLength: 2, maxLength: 6 },
);
// Each run writes one trail and tampers with it in every way there is.
const RUNS = { numRuns: 3 };

/** Writes a trail; the returned function puts other records in place of its own and verifies that. */
async function tamperable(kind: Kind, list: readonly Partial<AuditEvent>[]) {
  const path = join(temporaryFolder(), kind);
  await writeTrail(kind, path, list);
  if (kind === 'file') {
    const records = splitLines(readFileSync(path));
    const verifyWith = (others: readonly Buffer[]): Promise<AuditVerification> => {
      writeFileSync(path, Buffer.concat(others.flatMap((line) => [line, Buffer.from('\n')])));
      return verifyAuditTrail(path);
    };
    return { records, verifyWith };
  }
  const database = new DatabaseSync(path);
  onTestFinished(() => {
    if (database.isOpen) database.close();
  });
  database.exec('PRAGMA synchronous = OFF');
  const stored = database.prepare('SELECT CAST(record AS BLOB) AS bytes FROM audit_records ORDER BY seq').all();
  const verifyWith = (others: readonly Buffer[]): Promise<AuditVerification> => {
    database.exec('BEGIN; DELETE FROM audit_records');
    const insert = database.prepare('INSERT INTO audit_records (seq, record) VALUES (?, CAST(? AS TEXT))');
    for (const [index, record] of others.entries()) insert.run(index + 1, record);
    database.exec('COMMIT');
    return verifyAuditTrail(path);
  };
  return { records: stored.map(({ bytes }) => Buffer.from(bytes as Uint8Array)), verifyWith };
}

async function writeTrail(kind: Kind, path: string, list: readonly Partial<AuditEvent>[]): Promise<void> {
  const sink = openSink(kind, path);
  for (const part of list) sink.record({ ...event(0), ...part });
  await sink.close();
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0, end = bytes.indexOf(10); end !== -1; start = end + 1, end = bytes.indexOf(10, start))
    lines.push(bytes.subarray(start, end));
  return lines;
}

const problem = (seq: number, kind: unknown, line: number = seq) => ({
  ok: false,
  problem: { seq, kind, line, message: expect.any(String) },
});

describe.each(KINDS)('verifying a %s trail', (kind) => {
  it('passes an untouched one, with any content', async () => {
    await fc.assert(
      fc.asyncProperty(events, async (list) => {
        const { records, verifyWith } = await tamperable(kind, list);
        expect(await verifyWith(records)).toMatchObject({ ok: true, records: list.length, unanchored: 0 });
      }),
      RUNS,
    );
  });

  it('finds and locates any changed byte of any record', async () => {
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 10, maxLength: 10 }),
        async (list, flips) => {
          const { records, verifyWith } = await tamperable(kind, list);
          for (const [index, record] of records.entries()) {
            for (const [where, mask] of flips) {
              const changed = Buffer.from(record);
              changed[where % record.length]! ^= mask;
              expect(await verifyWith(records.with(index, changed))).toMatchObject(
                problem(index + 1, expect.stringMatching(/^(changed|malformed)$/)),
              );
            }
          }
        },
      ),
      RUNS,
    );
  });

  it('finds a number damaged into one that is too large to be one', async () => {
    const { records, verifyWith } = await tamperable(kind, [{ details: { small: 1e-124 } }, {}]);
    const changed = Buffer.from(records[0]!.toString().replace('1e-124', '1e7124'));
    expect(changed.equals(records[0]!)).toBe(false);
    expect(await verifyWith(records.with(0, changed))).toMatchObject(problem(1, 'malformed'));
  });

  it('finds and locates any dropped records, the last ones too', async () => {
    await fc.assert(
      fc.asyncProperty(events, async (list) => {
        const { records, verifyWith } = await tamperable(kind, list);
        for (const index of records.keys()) {
          for (let count = 1; index + count <= records.length; count += 1) {
            const kindOf = index + count === records.length ? 'truncated' : 'missing';
            expect(await verifyWith(records.toSpliced(index, count))).toMatchObject(problem(index + 1, kindOf));
          }
        }
      }),
      RUNS,
    );
  });

  it('finds and locates any two swapped records', async () => {
    await fc.assert(
      fc.asyncProperty(events, async (list) => {
        const { records, verifyWith } = await tamperable(kind, list);
        for (let first = 0; first < records.length; first += 1) {
          for (let second = first + 1; second < records.length; second += 1) {
            const swapped = records.with(first, records[second]!).with(second, records[first]!);
            expect(await verifyWith(swapped)).toMatchObject(problem(first + 1, 'reordered'));
          }
        }
      }),
      RUNS,
    );
  });

  it('finds and locates any duplicated record, wherever the copy goes', async () => {
    await fc.assert(
      fc.asyncProperty(events, async (list) => {
        const { records, verifyWith } = await tamperable(kind, list);
        for (const [index, record] of records.entries()) {
          for (let at = 0; at <= records.length; at += 1) {
            // A copy ahead of the original is a record that comes too early.
            const expected = at > index ? problem(at + 1, 'duplicate') : problem(at + 1, 'reordered');
            if (at !== index) expect(await verifyWith(records.toSpliced(at, 0, record))).toMatchObject(expected);
          }
        }
      }),
      RUNS,
    );
  });

  it('finds a record replaced by an intact one of another trail', async () => {
    const folder = temporaryFolder();
    await writeTrail('file', join(folder, 'other'), [event(7), event(8), event(9)]);
    const foreign = splitLines(readFileSync(join(folder, 'other')));
    const { records, verifyWith } = await tamperable(kind, [event(1), event(2), event(3)]);
    for (const index of [0, 1, 2]) {
      const result = await verifyWith(records.with(index, foreign[index]!));
      // The first record continues nothing, so it shows where the second does not continue it.
      expect(result).toMatchObject(problem(index === 0 ? 2 : index + 1, 'changed'));
    }
  });

  it('finds a trail rewritten as a whole only with a head from elsewhere, as the README says', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'trail');
    await writeTrail(kind, path, [event(1), event(2), event(3)]);
    const before = await verifyAuditTrail(path);
    const publishedHead = before.ok ? before.head : expect.fail();
    const rewritten = join(folder, 'rewritten');
    await writeTrail(kind, rewritten, [event(1), event(2), event(4), event(5)]);
    expect(await verifyAuditTrail(rewritten)).toMatchObject({ ok: true });
    expect(await verifyAuditTrail(rewritten, { publishedHead })).toMatchObject(problem(3, 'changed'));
    expect(await verifyAuditTrail(path, { publishedHead })).toMatchObject({ ok: true });
    const shorter = join(folder, 'shorter');
    await writeTrail(kind, shorter, [event(1), event(2)]);
    expect(await verifyAuditTrail(shorter, { publishedHead })).toMatchObject(problem(3, 'truncated'));
  });

  it('rejects when there is nothing to read', async () => {
    await expect(verifyAuditTrail(join(temporaryFolder(), 'nothing'))).rejects.toThrow(/ENOENT/);
  });
});

describe('a file trail', () => {
  const list = [event(1), event(2, { name: 'ü' })];

  it('shows any changed byte of the file or its head, line feeds included, at its line', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'trail');
    await writeTrail('file', path, list);
    const [trail, head] = [readFileSync(path), readFileSync(`${path}.head`)];
    for (let offset = 0; offset < trail.length; offset += 3) {
      const copy = Buffer.from(trail);
      copy[offset]! ^= 1 << (offset % 8);
      writeFileSync(path, copy);
      const line = trail.subarray(0, offset).filter((byte) => byte === 10).length + 1;
      expect(await verifyAuditTrail(path), `byte ${offset}`).toMatchObject(problem(line, expect.stringMatching(/changed|malformed/)));
    }
    writeFileSync(path, trail);
    for (let offset = 0; offset < head.length; offset += 1) {
      const copy = Buffer.from(head);
      copy[offset]! ^= 1 << (offset % 8);
      writeFileSync(`${path}.head`, copy);
      const result = await verifyAuditTrail(path);
      // The length in the head serves the sink at opening only: `bytes` says nothing about the records.
      const isLength = offset >= head.indexOf(':') + 1 && offset < head.indexOf(',');
      if (!isLength) expect(result, `byte ${offset} of the head`).toMatchObject({ ok: false });
    }
  });

  it('shows being cut anywhere', async () => {
    const path = join(temporaryFolder(), 'trail');
    await writeTrail('file', path, list);
    const trail = readFileSync(path);
    for (let length = 0; length < trail.length; length += 3) {
      writeFileSync(path, trail.subarray(0, length));
      expect(await verifyAuditTrail(path), `cut to ${length} bytes`).toMatchObject({
        ok: false,
        problem: { kind: expect.stringMatching(/truncated|malformed/), seq: splitLines(trail.subarray(0, length)).length + 1 },
      });
    }
  });

  it('passes what a crash leaves behind its head, and counts it', async () => {
    const path = join(temporaryFolder(), 'trail');
    await writeTrail('file', path, [event(1)]);
    const head = readFileSync(`${path}.head`);
    await writeTrail('file', path, [event(2), event(3)]);
    writeFileSync(`${path}.head`, head);
    writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from('{"event":')]));
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 3, unanchored: 2 });
  });

  it('is not taken for whole without its head', async () => {
    const folder = temporaryFolder();
    await writeTrail('file', join(folder, 'trail'), list);
    mkdirSync(join(folder, 'copy'));
    copyFileSync(join(folder, 'trail'), join(folder, 'copy', 'trail'));
    expect(await verifyAuditTrail(join(folder, 'copy', 'trail'))).toMatchObject(problem(3, 'truncated'));
  });

  it('may have lines longer than a read of the file', async () => {
    const path = join(temporaryFolder(), 'trail');
    await writeTrail('file', path, [event(1, { long: 'ü'.repeat(700_000) }), event(2)]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 2 });
    await writeTrail('file', path, [event(3, { long: 'x'.repeat(700_000) })]);
    await writeTrail('file', path, [event(4)]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 4 });
  });
});

it('no changed byte of an SQLite file changes a record unnoticed', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'trail');
  const list = [event(1), event(2, { name: 'ü' }), event(3)];
  await writeTrail('sqlite', path, list);
  const original = readFileSync(path);
  const copy = join(folder, 'copy');
  let noticed = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: original.length - 1 }), fc.integer({ min: 1, max: 255 }), async (offset, mask) => {
      const bytes = Buffer.from(original);
      bytes[offset]! ^= mask;
      writeFileSync(copy, bytes);
      let result: AuditVerification;
      try {
        result = await verifyAuditTrail(copy);
      } catch {
        noticed += 1;
        return;
      }
      if (!result.ok) {
        noticed += 1;
        return;
      }
      const read: AuditEvent[] = [];
      for await (const record of readAuditTrail(copy)) read.push(record.event);
      expect(read).toEqual(list);
    }),
    { numRuns: 60 },
  );
  expect(noticed).toBeGreaterThan(0);
});

it('reading stops at a record that is not what it was', async () => {
  const path = join(temporaryFolder(), 'trail');
  await writeTrail('file', path, [event(1), event(2)]);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"time":2', '"time":5'));
  const read: number[] = [];
  const all = async () => {
    for await (const record of readAuditTrail(path)) read.push(record.seq);
  };
  await expect(all()).rejects.toMatchObject({ code: 'internal_error', message: expect.stringContaining('line 2') });
  expect(read).toEqual([1]);
});
