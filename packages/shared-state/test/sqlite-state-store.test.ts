import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ManualClock, stateStoreContract } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { SqliteStateStore, type SqliteStateStoreOptions } from '../src/sqlite.js';
import { contend, openTogether, temporaryFile } from './harness.js';

describe('the SQLite store, two on one file', () => {
  for (const { name, run } of stateStoreContract) {
    it(name, async () => {
      const clock = new ManualClock();
      await run({
        create: async () => {
          const path = temporaryFile();
          return { store: new SqliteStateStore({ path, clock }), peer: new SqliteStateStore({ path, clock }) };
        },
        advance: (ms) => clock.advance(ms),
      });
      expect(clock.pendingTimers).toBe(0);
    });
  }
});

it('keeps two processes apart', async () => {
  const path = temporaryFile();
  const store = new SqliteStateStore({ path });
  await contend(store, 'sqlite', path, '');
  await store.close();
});

it('keeps entries, locks and the fence over a restart', async () => {
  const path = temporaryFile();
  const first = new SqliteStateStore({ path });
  await first.set('key', { a: 1 });
  const lock = await first.acquireLock('lock', 60_000);
  await first.close();
  const second = new SqliteStateStore({ path });
  expect(await second.get('key')).toEqual({ a: 1 });
  expect(await second.acquireLock('lock', 60_000)).toBeUndefined();
  expect(await second.releaseLock('lock', lock!.token)).toBe(true);
  expect((await second.acquireLock('lock', 60_000))!.fencingToken).toBeGreaterThan(lock!.fencingToken);
  await second.close();
});

it('a message arrives with the next poll, and polling ends with the last subscriber', async () => {
  const clock = new ManualClock();
  const path = temporaryFile();
  const store = new SqliteStateStore({ path, clock, pollIntervalMs: 200 });
  const peer = new SqliteStateStore({ path, clock });
  const seen: unknown[] = [];
  const stop = await store.subscribe('news', (message) => seen.push(message));
  await peer.publish('news', 1);
  await clock.advance(199);
  expect(seen).toEqual([]);
  await clock.advance(1);
  expect(seen).toEqual([1]);
  await stop();
  expect(clock.pendingTimers).toBe(0);
  await store.close();
  await peer.close();
});

it('does not hold up the event loop while another process writes, and gives up with unavailable', async () => {
  const path = temporaryFile();
  const store = new SqliteStateStore({ path, busyTimeoutMs: 5_000 });
  const impatient = new SqliteStateStore({ path, busyTimeoutMs: 0 });
  await store.set('key', 1);
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  await expect(impatient.set('key', 2)).rejects.toMatchObject({ code: 'unavailable', cause: { errcode: 5 } });
  expect(await impatient.get('key')).toBe(1);
  const waiting = store.increment('key', 1);
  // Would never come if the store waited inside SQLite: this very turn has to end the other transaction.
  await new Promise((resolve) => setImmediate(resolve));
  other.exec('COMMIT');
  other.close();
  expect(await waiting).toBe(2);
  await store.close();
  await impatient.close();
});

it('sweeps what has expired and old messages out of the file', async () => {
  const clock = new ManualClock();
  const path = temporaryFile();
  const store = new SqliteStateStore({ path, clock });
  for (let index = 0; index < 300; index += 1) await store.set(`key ${index}`, index, { ttlMs: 1_000 });
  for (let index = 0; index < 300; index += 1) await store.acquireLock(`lock ${index}`, 1_000);
  for (let index = 0; index < 300; index += 1) await store.publish('news', index);
  await clock.advance(60_001);
  for (let index = 0; index < 100; index += 1) await store.publish('news', index);
  await store.close();
  const database = new DatabaseSync(path);
  const count = (table: string) => database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n;
  expect([count('state_entries'), count('state_locks'), count('state_messages')]).toEqual([0, 0, 100]);
  database.close();
});

it('fails with unavailable when the file is not what it was', async () => {
  const path = temporaryFile();
  const store = new SqliteStateStore({ path });
  const other = new DatabaseSync(path);
  other.exec('DROP TABLE state_entries');
  other.close();
  await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  await store.close();
});

it.each<[options: Partial<SqliteStateStoreOptions>, option: string]>([
  [{ pollIntervalMs: 0 }, 'pollIntervalMs'],
  [{ pollIntervalMs: 10_001 }, 'pollIntervalMs'],
  [{ busyTimeoutMs: -1 }, 'busyTimeoutMs'],
  [{ path: join('nothing', 'here', 'state.sqlite') }, 'path'],
])('names a wrong option: %j', (options, option) => {
  expect(() => new SqliteStateStore({ path: temporaryFile(), ...options })).toThrow(
    expect.objectContaining({ name: 'ConfigurationError', option }),
  );
});

it('names the path of a file that is no database', () => {
  const path = temporaryFile();
  writeFileSync(path, 'x'.repeat(2000));
  expect(() => new SqliteStateStore({ path })).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'path' }));
});

it('a new file may be opened by several processes at once', async () => {
  expect(await openTogether(dirname(temporaryFile()), 100)).toEqual([]);
});
