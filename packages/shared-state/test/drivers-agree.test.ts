import { type JsonValue, MemoryStateStore, type StateStore } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RedisStateStore } from '../src/redis.js';
import { SqliteStateStore } from '../src/sqlite.js';
import { redisUrl, uniquePrefix } from './harness.js';

type Step = (store: StateStore, tokens: Map<string, string>) => Promise<unknown>;

const key = fc.constantFrom('a', 'b', '__proto__');
const value = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom<JsonValue>({ x: 1, y: [null] }, { y: [null], x: 1 }, 'text', '1', true, null, 1.5, Number.MAX_SAFE_INTEGER, -1e21),
);
const ttlMs = fc.constantFrom(undefined, 50, 100, 1_000, 0);
const optional = (ttl: number | undefined) => (ttl === undefined ? {} : { ttlMs: ttl });

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(key).map(
    ([k]): Step =>
      (s) =>
        s.get(k),
  ),
  fc.tuple(key, value, ttlMs, fc.boolean()).map(
    ([k, v, t, ifAbsent]): Step =>
      (s) =>
        s.set(k, v, { ...optional(t), ifAbsent }),
  ),
  fc.tuple(key, value, value, ttlMs).map(
    ([k, v, n, t]): Step =>
      (s) =>
        s.compareAndSet(k, v, n, optional(t)),
  ),
  fc.tuple(key).map(
    ([k]): Step =>
      (s) =>
        s.delete(k),
  ),
  fc.tuple(key, fc.constantFrom(1, -1, 5, 0.5, Number.MAX_SAFE_INTEGER), ttlMs).map(
    ([k, by, t]): Step =>
      (s) =>
        s.increment(k, by, optional(t)),
  ),
  fc.tuple(key, fc.constantFrom(50, 1_000, 0)).map(
    ([k, t]): Step =>
      async (s, tokens) => {
        const lock = await s.acquireLock(k, t);
        if (lock === undefined) return 'held';
        tokens.set(k, lock.token);
        // How far it grows is the driver's; locks may have fences of their own.
        const before = Number(tokens.get(`fence of ${k}`) ?? 0);
        tokens.set(`fence of ${k}`, String(lock.fencingToken));
        return lock.fencingToken > before;
      },
  ),
  fc.tuple(key, key, fc.constantFrom(50, 1_000)).map(
    ([k, of, t]): Step =>
      (s, tokens) =>
        s.extendLock(k, tokens.get(of) ?? 'none', t),
  ),
  fc.tuple(key, key).map(
    ([k, of]): Step =>
      (s, tokens) =>
        s.releaseLock(k, tokens.get(of) ?? 'none'),
  ),
);

/** What a step answers, or the code it fails with. */
async function outcome(run: Step, store: StateStore, tokens: Map<string, string>): Promise<unknown> {
  return run(store, tokens).catch((error: { code?: string }) => ({ failed: error.code }));
}

it('SQLite answers as memory does, whatever is asked and however time passes', async () => {
  const wait = fc.constantFrom(10, 49, 50, 51, 900);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof({ weight: 5, arbitrary: step }, { weight: 1, arbitrary: wait }), { maxLength: 60 }),
      async (steps) => {
        const clock = new ManualClock();
        const stores = [new MemoryStateStore({ clock }), new SqliteStateStore({ path: ':memory:', clock })];
        const tokens = stores.map(() => new Map<string, string>());
        for (const current of steps) {
          if (typeof current === 'number') {
            await clock.advance(current);
            continue;
          }
          const [expected, answered] = await Promise.all(stores.map((store, index) => outcome(current, store, tokens[index]!)));
          expect(answered).toEqual(expected);
        }
        await Promise.all(stores.map((store) => store.close()));
      },
    ),
    { numRuns: 150 },
  );
});

it('Redis answers as memory does, whatever is asked, as long as nothing ends', async () => {
  const url = redisUrl();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      // Every lifetime is stretched, so that the two clocks need not agree.
      const stores = [new MemoryStateStore(), new RedisStateStore({ url, keyPrefix: uniquePrefix() })].map(stretched);
      const tokens = stores.map(() => new Map<string, string>());
      for (const current of steps) {
        const [expected, answered] = await Promise.all(stores.map((store, index) => outcome(current, store, tokens[index]!)));
        expect(answered).toEqual(expected);
      }
      await Promise.all(stores.map((store) => store.close()));
    }),
    { numRuns: 60 },
  );
});

function stretched(store: StateStore): StateStore {
  const long = <T extends { readonly ttlMs?: number } | undefined>(options: T): T =>
    options?.ttlMs === undefined ? options : { ...options, ttlMs: options.ttlMs * 10_000 };
  return {
    get: (k) => store.get(k),
    set: (k, v, options) => store.set(k, v, long(options)),
    compareAndSet: (k, v, n, options) => store.compareAndSet(k, v, n, long(options)),
    delete: (k) => store.delete(k),
    increment: (k, by, options) => store.increment(k, by, long(options)),
    acquireLock: (k, ttl) => store.acquireLock(k, ttl * 10_000),
    extendLock: (k, token, ttl) => store.extendLock(k, token, ttl * 10_000),
    releaseLock: (k, token) => store.releaseLock(k, token),
    publish: (channel, message) => store.publish(channel, message),
    subscribe: (channel, listener) => store.subscribe(channel, listener),
    close: () => store.close(),
  };
}
