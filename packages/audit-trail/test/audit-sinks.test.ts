import { fork } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { auditSinkContract, ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  ChainedAuditSink,
  type ChainedAuditSinkOptions,
  FileAuditSink,
  SqliteAuditSink,
  type TrailStore,
  verifyAuditTrail,
} from '../src/index.js';
import { event, eventsOf, KINDS, openSink, temporaryFolder, trailPath } from './trails.js';

describe.each(KINDS)('the %s sink', (kind) => {
  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const path = trailPath(kind);
          return { sink: openSink(kind, path), stored: () => eventsOf(path) };
        },
      }),
    );
  }

  it('continues the chain after a restart', async () => {
    const path = trailPath(kind);
    for (let round = 0; round < 3; round += 1) {
      const sink = openSink(kind, path);
      sink.record(event(round * 2));
      sink.record(event(round * 2 + 1));
      await sink.close();
    }
    expect((await eventsOf(path)).map(({ time }) => time)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 6, unanchored: 0 });
  });

  it('may be read and verified while it is written', async () => {
    const path = trailPath(kind);
    const sink = openSink(kind, path, { batchDelayMs: 0 });
    for (let number = 1; number <= 200; number += 1) {
      sink.record(event(number));
      if (number % 10 === 0) expect(await verifyAuditTrail(path)).toMatchObject({ ok: true });
    }
    await sink.flush();
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 200, head: sink.head });
    await sink.close();
  });

  it('writes by itself after the batch delay', async () => {
    const path = trailPath(kind);
    const clock = new ManualClock();
    const sink = openSink(kind, path, { clock, batchDelayMs: 50 });
    sink.record(event(1));
    await clock.advance(49);
    expect(await eventsOf(path)).toEqual([]);
    await clock.advance(1);
    await sink.flush();
    expect(await eventsOf(path)).toHaveLength(1);
    await sink.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('has one writer at a time, also after a process was killed', async () => {
    const path = trailPath(kind);
    const first = openSink(kind, path);
    expect(() => openSink(kind, path)).toThrow(
      expect.objectContaining({ code: 'unavailable', message: expect.stringContaining('writer') }),
    );
    first.record(event(1));
    await first.close();
    const child = startWriter(kind, path);
    await child.flushed(5);
    expect(() => openSink(kind, path)).toThrow(expect.objectContaining({ code: 'unavailable' }));
    await child.kill();
    await openSink(kind, path).close();
  });

  it('loses nothing it has flushed when the process is killed, and goes on', async () => {
    const path = trailPath(kind);
    let flushed = 0;
    for (const atLeast of [1, 40, 90]) {
      const child = startWriter(kind, path);
      flushed = await child.flushed(flushed + atLeast);
      await child.kill();
      flushed = child.lastFlushed;
      expect((await eventsOf(path)).length).toBeGreaterThanOrEqual(flushed);
    }
    const sink = openSink(kind, path);
    sink.record(event(-1));
    await sink.close();
    const result = await verifyAuditTrail(path);
    expect(result).toMatchObject({ ok: true, unanchored: 0 });
    expect((await eventsOf(path)).at(-1)).toEqual(event(-1));
  });

  it.each<[options: ChainedAuditSinkOptions, option: string]>([
    [{ maxQueuedRecords: 0 }, 'maxQueuedRecords'],
    [{ batchDelayMs: -1 }, 'batchDelayMs'],
    [{ retryDelayMs: 0.5 }, 'retryDelayMs'],
  ])('refuses %j and leaves nothing open', async (options, option) => {
    const path = trailPath(kind);
    expect(() => openSink(kind, path, options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
    await openSink(kind, path).close();
  });

  it('names the path when it cannot be opened', () => {
    const path = join(temporaryFolder(), 'missing', 'trail');
    expect(() => openSink(kind, path)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'path' }));
    const folder = join(temporaryFolder(), 'folder');
    mkdirSync(folder);
    expect(() => openSink(kind, folder)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'path' }));
  });
});

describe('a file sink after a crash', () => {
  async function crashed(damage: (path: string) => void) {
    const path = trailPath('file');
    const sink = new FileAuditSink({ path });
    for (let number = 1; number <= 3; number += 1) {
      sink.record(event(number));
      await sink.flush();
    }
    await sink.close();
    damage(path);
    return path;
  }

  /** The state between writing records and writing the head: the head is an earlier one. */
  async function withOldHead(after: (path: string) => void) {
    const path = trailPath('file');
    const sink = new FileAuditSink({ path });
    sink.record(event(1));
    await sink.flush();
    const head = readFileSync(`${path}.head`);
    sink.record(event(2));
    sink.record(event(3));
    await sink.close();
    writeFileSync(`${path}.head`, head);
    after(path);
    return path;
  }

  it.each<[what: string, path: () => Promise<string>, details: object, kept: number]>([
    [
      'cuts half a record off',
      () => crashed((path) => appendFileSync(path, '{"event":{"actor":"al')),
      { adoptedRecords: 0, discardedBytes: 21 },
      3,
    ],
    ['cuts what is no record off', () => crashed((path) => appendFileSync(path, '\0\0\0\n')), { adoptedRecords: 0, discardedBytes: 4 }, 3],
    ['keeps whole records the head does not know yet', () => withOldHead(() => {}), { adoptedRecords: 2, discardedBytes: 0 }, 3],
    [
      'keeps the whole ones and cuts the half one',
      () => withOldHead((path) => truncateSync(path, statSync(path).size - 10)),
      { adoptedRecords: 1, discardedBytes: expect.any(Number) },
      2,
    ],
    ['cuts whole records that do not continue the chain', () => withOldHead((path) => dropLine(path, 2)), { adoptedRecords: 0 }, 1],
  ])('%s and says so', async (_what, prepare, details, kept) => {
    const path = await prepare();
    const sink = new FileAuditSink({ path });
    sink.record(event(9));
    await sink.close();
    const events = await eventsOf(path);
    expect(events.slice(0, kept)).toEqual([event(1), event(2), event(3)].slice(0, kept));
    expect(events.slice(kept)).toEqual([
      { type: 'audit.recovered', time: expect.any(Number), outcome: 'succeeded', actor: '-', details: expect.objectContaining(details) },
      event(9),
    ]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: kept + 2, unanchored: 0 });
  });

  it.each<[what: string, damage: (path: string) => void]>([
    ['records are missing from the end', (path) => dropLine(path, 3)],
    ['the last record is cut', (path) => truncateSync(path, statSync(path).size - 1)],
    ['the last record is changed', (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('"time":3', '"time":4'))],
    ['the head is missing', (path) => rmSync(`${path}.head`)],
    ['the head is malformed', (path) => writeFileSync(`${path}.head`, '{}')],
    ['the file is gone', (path) => rmSync(path)],
  ])('refuses to go on where a crash is no explanation: %s', async (_what, damage) => {
    const path = await crashed(damage);
    const before = existsSync(path) ? readFileSync(path) : undefined;
    expect(() => new FileAuditSink({ path })).toThrow(
      expect.objectContaining({ code: 'internal_error', message: expect.stringContaining('damaged') }),
    );
    if (before !== undefined) expect(readFileSync(path)).toEqual(before);
  });

  it('starts with an empty file that has a head', async () => {
    const path = trailPath('file');
    await new FileAuditSink({ path }).close();
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 0 });
    await new FileAuditSink({ path }).close();
  });

  it('is readable to its owner only', async () => {
    const path = await crashed(() => {});
    expect(statSync(path).mode & 0o077).toBe(0);
    expect(statSync(`${path}.head`).mode & 0o077).toBe(0);
  });
});

it.each([
  ['a record is missing from the end', 'DELETE FROM audit_records WHERE seq = 3'],
  ['the last record is changed', `UPDATE audit_records SET record = replace(record, '"time":3', '"time":4')`],
  ['the head is missing', 'DELETE FROM audit_head'],
])('the SQLite sink refuses to go on when %s', async (_what, sql) => {
  const path = trailPath('sqlite');
  const sink = new SqliteAuditSink({ path });
  for (let number = 1; number <= 3; number += 1) sink.record(event(number));
  await sink.close();
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
  expect(() => new SqliteAuditSink({ path })).toThrow(expect.objectContaining({ code: 'internal_error' }));
});

describe('while the storage fails', () => {
  class FailingStore implements TrailStore {
    readonly head = { seq: 0, hash: '0'.repeat(64) };
    readonly stored: string[] = [];
    attempts = 0;
    broken = true;
    closed = 0;
    async append(records: readonly string[]) {
      this.attempts += 1;
      if (this.broken) throw new Error('disk full');
      this.stored.push(...records);
    }
    async close() {
      this.closed += 1;
    }
  }

  function failing(options: ChainedAuditSinkOptions = {}) {
    const store = new FailingStore();
    const clock = new ManualClock();
    const errors: Error[] = [];
    const sink = new ChainedAuditSink(() => store, { clock, onError: (error) => errors.push(error), ...options });
    return { sink, store, clock, errors };
  }

  it('accepts up to the bound, then record throws; nothing accepted is lost', async () => {
    const { sink, store, clock, errors } = failing({ maxQueuedRecords: 3 });
    for (let number = 1; number <= 3; number += 1) sink.record(event(number));
    expect(() => sink.record(event(4))).toThrow(expect.objectContaining({ code: 'unavailable' }));
    await clock.advance(5_000);
    expect(store.attempts).toBe(5);
    expect(errors).toHaveLength(5);
    expect(errors[0]).toMatchObject({
      code: 'unavailable',
      cause: { message: 'disk full' },
      message: expect.not.stringContaining('disk full'),
    });
    expect(sink.queuedRecords).toBe(3);
    store.broken = false;
    await clock.advance(1_000);
    expect(sink.queuedRecords).toBe(0);
    sink.record(event(5));
    await sink.close();
    expect(store.stored.map((text) => (JSON.parse(text) as { event: { time: number } }).event.time)).toEqual([1, 2, 3, 5]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('flush rejects with the reason and may be tried again', async () => {
    const { sink, store, errors } = failing();
    sink.record(event(1));
    const flushes = [sink.flush(), sink.flush()];
    for (const flush of flushes) await expect(flush).rejects.toMatchObject({ code: 'unavailable', cause: { message: 'disk full' } });
    expect(errors).toEqual([]);
    store.broken = false;
    await sink.flush();
    expect(store.stored).toHaveLength(1);
    await sink.close();
  });

  it('close rejects, keeps the events, and succeeds once the storage is back', async () => {
    const { sink, store, clock } = failing();
    sink.record(event(1));
    await expect(sink.close()).rejects.toMatchObject({ code: 'unavailable' });
    expect(store.closed).toBe(0);
    expect(() => sink.record(event(2))).toThrow(expect.objectContaining({ code: 'internal_error' }));
    store.broken = false;
    await Promise.all([sink.close(), sink.close()]);
    expect(store).toMatchObject({ closed: 1, stored: [expect.any(String)] });
    expect(clock.pendingTimers).toBe(0);
  });

  it('flush waits for what was accepted before it, not for what comes after', async () => {
    const { sink, store } = failing();
    store.broken = false;
    let more = true;
    const append = store.append.bind(store);
    store.append = async (records) => {
      await append(records);
      if (more) sink.record(event(0));
    };
    sink.record(event(1));
    await sink.flush();
    more = false;
    await settle();
    await sink.close();
  });

  it('the file sink overwrites what a failed attempt left, when its head cannot be written', async () => {
    const path = trailPath('file');
    const sink = new FileAuditSink({ path });
    sink.record(event(1));
    await sink.flush();
    mkdirSync(`${path}.head.tmp`);
    sink.record(event(2));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable', cause: { code: 'EISDIR' } });
    sink.record(event(3));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true });
    rmdirSync(`${path}.head.tmp`);
    await sink.close();
    expect((await eventsOf(path)).map(({ time }) => time)).toEqual([1, 2, 3]);
    expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 3, unanchored: 0 });
  });
});

it('an event that is not JSON is refused where it is recorded', async () => {
  const sink = new FileAuditSink({ path: trailPath('file') });
  expect(() => sink.record({ ...event(1), durationMs: Number.NaN })).toThrow(TypeError);
  await sink.close();
});

function dropLine(path: string, line: number): void {
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.splice(line - 1, 1);
  writeFileSync(path, lines.join('\n'));
}

function startWriter(kind: string, path: string) {
  const program = fileURLToPath(new URL('fixtures/writer.ts', import.meta.url));
  const hook = new URL('fixtures/source.mjs', import.meta.url).href;
  const child = fork(program, [kind, path], {
    execArgv: ['--conditions=@mcp-blocks/source', '--import', hook, '--disable-warning=ExperimentalWarning'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let lastFlushed = 0;
  let wake = () => {};
  child.on('message', (seq: number) => {
    lastFlushed = seq;
    wake();
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  return {
    get lastFlushed() {
      return lastFlushed;
    },
    flushed: async (atLeast: number) => {
      void exited.then(() => wake());
      while (lastFlushed < atLeast) {
        if (child.exitCode !== null) throw new Error(`the writer ended with code ${child.exitCode}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return lastFlushed;
    },
    kill,
  };
}
