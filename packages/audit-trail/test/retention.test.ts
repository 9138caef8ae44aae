import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileAuditSink, type FileAuditSinkOptions, pruneAuditTrail, queryAuditTrail, verifyAuditTrail } from '../src/index.js';
import { event, eventsOf, KINDS, type Kind, openSink, temporaryFolder, trailPath } from './trails.js';

const KEY = 'a-key-of-16-chars';

/** A trail of events at times 1 to `count`, of files with two records each. */
async function written(kind: Kind, count: number, path = trailPath(kind)): Promise<string> {
  const options: Partial<FileAuditSinkOptions> = { maxFileBytes: 400 };
  const sink = kind === 'file' ? new FileAuditSink({ path, ...options }) : openSink(kind, path);
  for (let time = 1; time <= count; time += 1) {
    sink.record(event(time));
    await sink.flush();
  }
  await sink.close();
  return path;
}

const timesIn = async (path: string) => (await eventsOf(path)).map(({ time }) => time);
const filesOf = (path: string) =>
  readdirSync(dirname(path))
    .filter((name) => name.startsWith(basename(path)) && !name.endsWith('.lock'))
    .map((name) => name.slice(basename(path).length))
    .sort();

describe('rotation', () => {
  it('finishes files by size, and the chain goes through them', async () => {
    const path = await written('file', 7);
    expect(filesOf(path)).toEqual(['', '.2', '.4', '.6', '.head']);
    expect(await timesIn(path)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 7, unanchored: 0 });
    expect((await queryAuditTrail(path, { cursor: '4' })).records.map(({ seq }) => seq)).toEqual([5, 6, 7]);
    expect(statSync(`${path}.2`).mode & 0o077).toBe(0);
  });

  it('finishes files by age, also over a restart', async () => {
    const clock = new ManualClock();
    const path = trailPath('file');
    const write = async () => {
      const sink = new FileAuditSink({ path, maxFileAgeMs: 100, clock });
      sink.record(event(clock.now()));
      await sink.close();
    };
    await write();
    await clock.advance(99);
    await write();
    expect(filesOf(path)).toEqual(['', '.head']);
    await clock.advance(1);
    await write();
    expect(filesOf(path)).toEqual(['', '.2', '.head']);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 3 });
  });

  it('tells the file in which a record is wrong', async () => {
    const path = await written('file', 5);
    const original = readFileSync(`${path}.4`, 'utf8');
    writeFileSync(`${path}.4`, original.replace('"time":4', '"time":9'));
    expect(await verifyAuditTrail(path)).toMatchObject({ problem: { seq: 4, line: 2, file: `${basename(path)}.4`, kind: 'changed' } });
    writeFileSync(`${path}.4`, original.slice(0, -1));
    expect(await verifyAuditTrail(path)).toMatchObject({ problem: { seq: 4, kind: 'malformed' } });
    rmSync(`${path}.4`);
    expect(await verifyAuditTrail(path)).toMatchObject({ problem: { seq: 3, kind: 'missing', file: basename(path) } });
    expect(await verifyAuditTrail(await written('file', 5))).toMatchObject({ ok: true });
  });

  it.each<[what: string, crash: (path: string) => void]>([
    ['the file was renamed', (path) => renameSync(path, `${path}.3`)],
    [
      'the next file was made',
      (path) => {
        renameSync(path, `${path}.3`);
        writeFileSync(path, '');
      },
    ],
  ])('goes on after a crash when %s', async (_what, crash) => {
    const path = await written('file', 3);
    crash(path);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 3, unanchored: 0 });
    await written('file', 1, path);
    expect(await timesIn(path)).toEqual([1, 2, 3, 1]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 4 });
  });

  it.each<[what: string, damage: (path: string) => void]>([
    ['a finished file is gone', (path) => rmSync(`${path}.2`)],
    ['a finished file is cut', (path) => truncateSync(`${path}.2`, 100)],
    ['the head is gone', (path) => rmSync(`${path}.head`)],
  ])('does not go on when %s', async (_what, damage) => {
    const path = await written('file', 2);
    renameSync(path, `${path}.2`);
    damage(path);
    expect(() => new FileAuditSink({ path })).toThrow(expect.objectContaining({ code: 'internal_error' }));
  });

  it('is taken up again when it failed halfway', async () => {
    const path = trailPath('file');
    const sink = new FileAuditSink({ path, maxFileBytes: 1 });
    sink.record(event(1));
    await sink.flush();
    // The head cannot be written where a folder is.
    mkdirSync(`${path}.head.tmp`);
    sink.record(event(2));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    rmdirSync(`${path}.head.tmp`);
    await sink.close();
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 2, unanchored: 0 });
  });

  it.each([
    [{ maxFileBytes: 0 }, 'maxFileBytes'],
    [{ maxFileAgeMs: 0.5 }, 'maxFileAgeMs'],
  ])('refuses %j', (options, option) => {
    expect(() => new FileAuditSink({ path: trailPath('file'), ...options })).toThrow(expect.objectContaining({ option }));
  });
});

describe.each(KINDS)('pruning a %s trail', (kind) => {
  it('by time or number keeps the rest verifiable, wherever it cuts, again and again', async () => {
    const plan = fc.array(
      fc.oneof(fc.record({ before: fc.integer({ min: 0, max: 9 }) }), fc.record({ keepRecords: fc.integer({ min: 0, max: 9 }) })),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    await fc.assert(
      fc.asyncProperty(plan, fc.boolean(), async (steps, sign) => {
        const path = await written(kind, 7);
        let expected = [1, 2, 3, 4, 5, 6, 7];
        for (const step of steps) {
          const kept =
            'before' in step
              ? expected.filter((time) => time >= step.before)
              : expected.slice(Math.max(0, expected.length - step.keepRecords));
          const { pruned } = await pruneAuditTrail(path, { ...step, ...(sign ? { anchorKey: KEY } : {}) });
          expect(pruned).toBe(expected.length - kept.length);
          expected = kept;
          expect(await timesIn(path)).toEqual(expected);
          const gone = 7 - expected.length;
          expect(await verifyAuditTrail(path, sign ? { anchorKey: KEY } : {})).toMatchObject({
            ok: true,
            records: expected.length,
            head: { seq: 7 },
            unanchored: 0,
            ...(gone === 0 ? {} : { pruned: { seq: gone } }),
          });
        }
        // The sink goes on where it was.
        const sink = openSink(kind, path);
        sink.record(event(8));
        await sink.close();
        expect(await timesIn(path)).toEqual([...expected, 8]);
        expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, head: { seq: 8 } });
      }),
      { numRuns: 12 },
    );
  });

  it('never takes a record that is new enough, even when an older one comes after it', async () => {
    const path = trailPath(kind);
    const sink = openSink(kind, path);
    for (const time of [1, 5, 2, 6]) sink.record(event(time));
    await sink.close();
    expect(await pruneAuditTrail(path, { before: 5 })).toMatchObject({ pruned: 1, kept: 3 });
    expect(await timesIn(path)).toEqual([5, 2, 6]);
  });

  it('shows records that were cut off the beginning otherwise, and anchors without the key', async () => {
    const path = await written(kind, 4);
    await pruneAuditTrail(path, { keepRecords: 2 });
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, pruned: { seq: 2, count: 2 } });
    expect(await verifyAuditTrail(path, { anchorKey: KEY })).toMatchObject({ ok: false, problem: { kind: 'anchor' } });
    const known = (await queryAuditTrail(path)).records[0]!;
    expect(await verifyAuditTrail(path, { publishedHead: known })).toMatchObject({ ok: true });
    expect(await verifyAuditTrail(path, { publishedHead: { seq: 2, hash: known.prev } })).toMatchObject({ ok: true });
    expect(await verifyAuditTrail(path, { publishedHead: { seq: 2, hash: known.hash } })).toMatchObject({ problem: { kind: 'anchor' } });
    expect(await verifyAuditTrail(path, { publishedHead: { seq: 1, hash: known.hash } })).toMatchObject({ problem: { kind: 'anchor' } });
    dropAnchor(kind, path);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: false, problem: { seq: 1, kind: 'missing' } });
  });

  it('does not prune a trail that is not intact', async () => {
    const path = await written(kind, 4);
    if (kind === 'file') writeFileSync(path, readFileSync(path, 'utf8').replace('"time":3', '"time":9'));
    else sql(path, `UPDATE audit_records SET record = replace(record, '"time":3', '"time":9')`);
    await expect(pruneAuditTrail(path, { keepRecords: 1 })).rejects.toMatchObject({ code: 'internal_error' });
    expect(await verifyAuditTrail(path)).toMatchObject({ problem: { seq: 3, kind: 'changed' } });
  });

  it.each<[options: object, option: string]>([
    [{}, 'before'],
    [{ before: 1, keepRecords: 1 }, 'before'],
    [{ before: Number.NaN }, 'before'],
    [{ keepRecords: -1 }, 'keepRecords'],
    [{ keepRecords: 1, anchorKey: 'short' }, 'anchorKey'],
  ])('refuses %j', async (options, option) => {
    await expect(pruneAuditTrail('/nothing', options)).rejects.toMatchObject({ name: 'ConfigurationError', option });
  });

  it('rejects for what is not there', async () => {
    await expect(pruneAuditTrail(join(temporaryFolder(), 'x'), { keepRecords: 1 })).rejects.toThrow(/ENOENT/);
  });
});

function dropAnchor(kind: Kind, path: string): void {
  if (kind === 'file') rmSync(`${path}.anchor`);
  else sql(path, 'DELETE FROM audit_anchor');
}

function sql(path: string, statement: string): void {
  const database = new DatabaseSync(path);
  database.exec(statement);
  database.close();
}

it('an SQLite trail is pruned while it is written', async () => {
  const path = await written('sqlite', 3);
  const sink = openSink('sqlite', path);
  sink.record(event(4));
  await sink.flush();
  expect(await pruneAuditTrail(path, { keepRecords: 1 })).toMatchObject({ pruned: 3, kept: 1, postponed: 0 });
  sink.record(event(5));
  await sink.close();
  expect(await timesIn(path)).toEqual([4, 5]);
  expect(await verifyAuditTrail(path)).toMatchObject({ ok: true });
});

it('of a file trail that is written only finished files are pruned, the rest later', async () => {
  const path = await written('file', 5);
  const sink = new FileAuditSink({ path });
  expect(await pruneAuditTrail(path, { keepRecords: 0 })).toMatchObject({ pruned: 4, kept: 1, postponed: 1 });
  sink.record(event(6));
  await sink.close();
  expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 2 });
  expect(await pruneAuditTrail(path, { keepRecords: 0 })).toMatchObject({ pruned: 2, kept: 0, postponed: 0 });
  expect(filesOf(path)).toEqual(['', '.anchor', '.head']);
});

it('a pruning that was killed at any point leaves a trail that verifies, and is finished by the next', async () => {
  // A crash after the anchor was written and before the files went is the state with all of the old files.
  const path = await written('file', 7);
  const finished = ['.2', '.4', '.6'].map((suffix) => ({ suffix, content: readFileSync(`${path}${suffix}`) }));
  await pruneAuditTrail(path, { before: 6 });
  for (const { suffix, content } of finished) writeFileSync(`${path}${suffix}`, content);
  copyFileSync(`${path}.4`, `${path}.4.tmp`);
  expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, pruned: { seq: 5 } });
  expect(await pruneAuditTrail(path, { before: 6 })).toMatchObject({ pruned: 0 });
  expect(existsSync(`${path}.4`)).toBe(false);
  expect(await timesIn(path)).toEqual([6, 7]);
});

it('a file trail is pruned by one at a time', async () => {
  const path = await written('file', 3);
  const outcomes = await Promise.allSettled([pruneAuditTrail(path, { keepRecords: 1 }), pruneAuditTrail(path, { keepRecords: 1 })]);
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'unavailable' } });
});
