import assert from 'node:assert/strict';
import { isRpcError, type RpcErrorCode } from '../errors.js';
import type { JsonValue } from '../json.js';
import type { StateStore } from '../state.js';
import type { ContractCase } from './contract.js';

/** Two clients of one backend. Within one process they may be the same object. */
export interface StateStorePair {
  readonly store: StateStore;
  readonly peer: StateStore;
}

/** What {@link stateStoreContract} needs of a driver. */
export interface StateStoreHarness {
  /** Makes clients of a fresh, empty backend. The case closes them. */
  create(): Promise<StateStorePair>;
  /** Lets the backend's clock go on by at least `ms`: moves an injected clock, or waits. */
  advance(ms: number): Promise<void>;
}

/**
 * What every {@link StateStore} promises. Lifetimes are checked with more than half a second to spare on
 * either side, so that drivers with a clock of their own can be waited for.
 */
export const stateStoreContract: readonly ContractCase<StateStoreHarness>[] = [
  contractCase('a key nobody wrote has no value', async ({ store }) => {
    assert.equal(await store.get('nothing'), undefined);
    assert.equal(await store.delete('nothing'), false);
  }),
  contractCase('every JSON value comes back as it was written, to every client', async ({ store, peer }) => {
    const values: JsonValue[] = [
      null,
      false,
      0,
      -1.5,
      1e21,
      '',
      'ü😀\u0000\n"',
      [],
      [1, [null]],
      {},
      { a: { b: [true] }, '': 1, ключ: null },
    ];
    for (const [index, value] of values.entries()) {
      assert.equal(await store.set(`value ${index}`, value), true);
      assert.deepEqual(await peer.get(`value ${index}`), value);
    }
  }),
  contractCase('keys are told apart exactly', async ({ store }) => {
    const keys = ['a', 'A', 'a ', 'a:b', 'a*', 'ä', 'a\u0308', 'constructor', '__proto__', 'x'.repeat(500)];
    for (const key of keys) await store.set(key, key);
    for (const key of keys) assert.equal(await store.get(key), key);
    assert.equal(await store.delete('a'), true);
    assert.equal(await store.get('a'), undefined);
    assert.equal(await store.get('A'), 'A');
  }),
  contractCase('a value is not shared with who wrote it or who read it', async ({ store, peer }) => {
    const written = { list: [1] };
    await store.set('key', written);
    written.list.push(2);
    const read = (await peer.get('key')) as { list: number[] };
    assert.deepEqual(read, { list: [1] });
    read.list.push(3);
    assert.deepEqual(await store.get('key'), { list: [1] });
  }),
  contractCase('a later write replaces value and lifetime', async ({ store }, { advance }) => {
    await store.set('key', 1, { ttlMs: 700 });
    await store.set('key', 2);
    await advance(1400);
    assert.equal(await store.get('key'), 2);
  }),
  contractCase('an entry with a lifetime is gone after it, not before', async ({ store, peer }, { advance }) => {
    await store.set('key', 1, { ttlMs: 1400 });
    await advance(700);
    assert.equal(await peer.get('key'), 1);
    await advance(1400);
    assert.equal(await peer.get('key'), undefined);
    assert.equal(await store.delete('key'), false, 'an expired entry was deleted as if it were live');
  }),
  contractCase('delete removes and tells whether there was an entry', async ({ store, peer }) => {
    await store.set('key', null);
    assert.equal(await peer.delete('key'), true);
    assert.equal(await store.get('key'), undefined);
    assert.equal(await store.delete('key'), false);
  }),
  contractCase('ifAbsent writes only where nothing lives', async ({ store, peer }, { advance }) => {
    assert.equal(await store.set('key', 'first', { ifAbsent: true, ttlMs: 700 }), true);
    assert.equal(await peer.set('key', 'second', { ifAbsent: true }), false);
    assert.equal(await store.get('key'), 'first');
    await advance(1400);
    assert.equal(await peer.set('key', 'third', { ifAbsent: true }), true);
    assert.equal(await store.get('key'), 'third');
  }),
  contractCase('of many that write with ifAbsent at once, one does', async ({ store, peer }) => {
    const wrote = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? store : peer).set('key', i, { ifAbsent: true })));
    assert.equal(wrote.filter(Boolean).length, 1);
    assert.equal(await store.get('key'), wrote.indexOf(true));
  }),
  contractCase('compareAndSet replaces exactly what is expected', async ({ store, peer }) => {
    assert.equal(await store.compareAndSet('key', null, 1), false, 'there was nothing to replace');
    assert.equal(await store.get('key'), undefined);
    await store.set('key', { a: 1, b: [2] });
    assert.equal(await peer.compareAndSet('key', { a: 1 }, 'wrong'), false);
    assert.equal(await peer.compareAndSet('key', { b: [2], a: 1 }, 'right'), true, 'the order of members does not matter');
    assert.equal(await store.get('key'), 'right');
  }),
  contractCase('of many that compare and set at once, one does', async ({ store, peer }) => {
    await store.set('key', 'start');
    const wrote = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? store : peer).compareAndSet('key', 'start', i)));
    assert.equal(wrote.filter(Boolean).length, 1);
  }),
  contractCase('compareAndSet keeps the lifetime unless given one', async ({ store }, { advance }) => {
    await store.set('kept', 1, { ttlMs: 700 });
    await store.set('given', 1);
    await store.set('longer', 1, { ttlMs: 700 });
    assert.equal(await store.compareAndSet('kept', 1, 2), true);
    assert.equal(await store.compareAndSet('given', 1, 2, { ttlMs: 700 }), true);
    assert.equal(await store.compareAndSet('longer', 1, 2, { ttlMs: 60_000 }), true);
    await advance(1400);
    assert.equal(await store.get('kept'), undefined);
    assert.equal(await store.get('given'), undefined);
    assert.equal(await store.get('longer'), 2);
    assert.equal(await store.compareAndSet('kept', 2, 3), false, 'an expired entry was replaced as if it were live');
  }),
  contractCase('increment counts from zero, in both directions', async ({ store, peer }) => {
    assert.equal(await store.increment('count', 2), 2);
    assert.equal(await peer.increment('count', -5), -3);
    assert.equal(await store.increment('count', 0), -3);
    assert.equal(await store.get('count'), -3);
    await store.set('count', 41);
    assert.equal(await peer.increment('count', 1), 42);
  }),
  contractCase('increments at once are all counted, each with its own sum', async ({ store, peer }) => {
    const sums = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? store : peer).increment('count', 1)));
    assert.deepEqual(
      sums.sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
  }),
  contractCase('a counter lives from its creation on; later increments do not prolong it', async ({ store }, { advance }) => {
    await store.increment('count', 1, { ttlMs: 1400 });
    await advance(700);
    assert.equal(await store.increment('count', 1, { ttlMs: 60_000 }), 2);
    await advance(1400);
    assert.equal(await store.increment('count', 1), 1);
  }),
  contractCase('increment refuses what is no counter and what would not be exact', async ({ store }) => {
    for (const value of ['1', 1.5, [1], true] as JsonValue[]) {
      await store.set('key', value);
      await rejectsWith('invalid_params', () => store.increment('key', 1));
      assert.deepEqual(await store.get('key'), value);
    }
    await store.set('key', Number.MAX_SAFE_INTEGER - 1);
    assert.equal(await store.increment('key', 1), Number.MAX_SAFE_INTEGER);
    await rejectsWith('invalid_params', () => store.increment('key', 1));
    assert.equal(await store.get('key'), Number.MAX_SAFE_INTEGER);
  }),
  contractCase('a lock is held by one', async ({ store, peer }) => {
    const lock = await store.acquireLock('lock', 60_000);
    assert.ok(lock);
    assert.equal(await peer.acquireLock('lock', 60_000), undefined);
    assert.equal(await store.acquireLock('lock', 60_000), undefined);
    assert.ok(await peer.acquireLock('another lock', 60_000));
    assert.equal(await store.releaseLock('lock', lock.token), true);
    assert.ok(await peer.acquireLock('lock', 60_000));
  }),
  contractCase('of many that ask for a lock at once, one gets it', async ({ store, peer }) => {
    const locks = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? store : peer).acquireLock('lock', 60_000)));
    assert.equal(locks.filter((lock) => lock !== undefined).length, 1);
  }),
  contractCase('only the holder gives a lock back or prolongs it', async ({ store, peer }) => {
    const lock = await store.acquireLock('lock', 60_000);
    assert.ok(lock);
    assert.equal(await peer.releaseLock('lock', 'somebody else'), false);
    assert.equal(await peer.extendLock('lock', 'somebody else', 60_000), false);
    assert.equal(await peer.acquireLock('lock', 60_000), undefined, 'the lock was given back by who did not hold it');
    assert.equal(await peer.releaseLock('lock', lock.token), true, 'the token is the proof, whichever client shows it');
    assert.equal(await store.releaseLock('lock', lock.token), false);
    assert.equal(await store.extendLock('lock', lock.token, 60_000), false);
  }),
  contractCase('a lock ends by itself, and its old holder cannot touch the next one', async ({ store, peer }, { advance }) => {
    const old = await store.acquireLock('lock', 700);
    assert.ok(old);
    await advance(1400);
    assert.equal(await store.extendLock('lock', old.token, 60_000), false, 'an expired lock was prolonged');
    const next = await peer.acquireLock('lock', 60_000);
    assert.ok(next);
    assert.notEqual(next.token, old.token);
    assert.equal(await store.releaseLock('lock', old.token), false);
    assert.equal(await store.acquireLock('lock', 60_000), undefined);
  }),
  contractCase('extendLock counts the lifetime from now', async ({ store, peer }, { advance }) => {
    const lock = await store.acquireLock('lock', 1400);
    assert.ok(lock);
    assert.equal(await store.extendLock('lock', lock.token, 60_000), true);
    await advance(2000);
    assert.equal(await peer.acquireLock('lock', 60_000), undefined);
    assert.equal(await store.extendLock('lock', lock.token, 700), true);
    await advance(1400);
    assert.ok(await peer.acquireLock('lock', 60_000));
  }),
  contractCase('the fencing token grows with every acquisition, however the lock ended', async ({ store, peer }, { advance }) => {
    const fences: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      const lock = await (i % 2 ? store : peer).acquireLock('lock', 60_000);
      assert.ok(lock);
      fences.push(lock.fencingToken);
      await store.releaseLock('lock', lock.token);
    }
    const expiring = await store.acquireLock('lock', 700);
    await advance(1400);
    const last = await peer.acquireLock('lock', 60_000);
    fences.push(expiring?.fencingToken ?? Number.NaN, last?.fencingToken ?? Number.NaN);
    for (const [index, fence] of fences.entries()) {
      assert.ok(Number.isSafeInteger(fence));
      assert.ok(index === 0 || fence > (fences[index - 1] as number), `fencing tokens do not grow: ${fences.join(', ')}`);
    }
  }),
  contractCase('locks and values of the same key have nothing to do with each other', async ({ store }) => {
    await store.set('key', 1);
    const lock = await store.acquireLock('key', 60_000);
    assert.ok(lock);
    assert.equal(await store.get('key'), 1);
    await store.delete('key');
    assert.equal(await store.releaseLock('key', lock.token), true);
  }),
  contractCase('a message reaches every subscriber of its channel, in order and once', async ({ store, peer }, harness) => {
    const here: JsonValue[] = [];
    const there: JsonValue[] = [];
    const elsewhere: JsonValue[] = [];
    await store.subscribe('news', (message) => here.push(message));
    await peer.subscribe('news', (message) => there.push(message));
    await peer.subscribe('news2', (message) => elsewhere.push(message));
    const messages: JsonValue[] = [...Array.from({ length: 10 }, (_, i) => i), { a: ['ü'] }, null];
    for (const message of messages) await store.publish('news', message);
    await store.publish('news2', 'last');
    await until(harness, () => here.length >= 12 && there.length >= 12 && elsewhere.length >= 1);
    await harness.advance(200);
    assert.deepEqual(here, messages);
    assert.deepEqual(there, messages);
    assert.deepEqual(elsewhere, ['last']);
  }),
  contractCase('a subscriber is told nothing of the past', async ({ store, peer }, harness) => {
    await store.subscribe('news', () => {});
    await store.publish('news', 'before');
    const seen: JsonValue[] = [];
    await peer.subscribe('news', (message) => seen.push(message));
    await store.publish('news', 'after');
    await until(harness, () => seen.length > 0);
    assert.deepEqual(seen, ['after']);
  }),
  contractCase('a stopped subscriber is told nothing more, and the others still are', async ({ store, peer }, harness) => {
    const stopped: JsonValue[] = [];
    const going: JsonValue[] = [];
    const stop = await store.subscribe('news', (message) => stopped.push(message));
    await store.subscribe('news', (message) => going.push(message));
    await peer.publish('news', 1);
    await until(harness, () => stopped.length === 1 && going.length === 1);
    await stop();
    await stop();
    await peer.publish('news', 2);
    await until(harness, () => going.length === 2);
    assert.deepEqual(stopped, [1]);
    const again: JsonValue[] = [];
    await store.subscribe('news', (message) => again.push(message));
    await peer.publish('news', 3);
    await until(harness, () => again.length === 1);
    assert.deepEqual(again, [3]);
  }),
  contractCase('one function may subscribe twice, and stops once for each', async ({ store }, harness) => {
    const seen: JsonValue[] = [];
    const listener = (message: JsonValue) => void seen.push(message);
    const stop = await store.subscribe('news', listener);
    await store.subscribe('news', listener);
    await store.publish('news', 1);
    await until(harness, () => seen.length === 2);
    await stop();
    await store.publish('news', 2);
    await until(harness, () => seen.length === 3);
    assert.deepEqual(seen, [1, 1, 2]);
  }),
  contractCase('a listener that throws, or changes its message, harms no other', async ({ store }, harness) => {
    const seen: JsonValue[] = [];
    await store.subscribe('news', (message) => {
      (message as number[]).push(2);
      throw new Error('a listener of the contract suite');
    });
    await store.subscribe('news', (message) => seen.push(message));
    await store.publish('news', [1]);
    await until(harness, () => seen.length === 1);
    assert.deepEqual(seen, [[1]]);
  }),
  contractCase('wrong arguments are refused', async ({ store }) => {
    for (const ttlMs of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      await rejectsWith('invalid_params', () => store.set('key', 1, { ttlMs }));
      await rejectsWith('invalid_params', () => store.increment('key', 1, { ttlMs }));
      await rejectsWith('invalid_params', () => store.acquireLock('key', ttlMs));
    }
    for (const by of [0.5, Number.NaN, 2 ** 60]) await rejectsWith('invalid_params', () => store.increment('key', by));
    await rejectsWith('invalid_params', () => store.get(''));
    await rejectsWith('invalid_params', () => store.set('', 1));
    await rejectsWith('invalid_params', () => store.acquireLock('', 1));
    await rejectsWith('invalid_params', () => store.publish('', 1));
    await rejectsWith('invalid_params', () => store.set('key', Number.NaN));
    assert.equal(await store.get('key'), undefined);
    assert.ok(await store.acquireLock('key', 1000));
  }),
  contractCase('close is idempotent, ends subscriptions, and everything after it is refused', async ({ store, peer }, harness) => {
    const seen: JsonValue[] = [];
    const stop = await store.subscribe('news', (message) => seen.push(message));
    await Promise.all([store.close(), store.close()]);
    await store.close();
    await stop();
    if (peer !== store) await peer.publish('news', 1);
    await harness.advance(200);
    assert.deepEqual(seen, []);
    await rejectsWith('internal_error', () => store.get('key'));
    await rejectsWith('internal_error', () => store.set('key', 1));
    await rejectsWith('internal_error', () => store.compareAndSet('key', 1, 2));
    await rejectsWith('internal_error', () => store.delete('key'));
    await rejectsWith('internal_error', () => store.increment('key', 1));
    await rejectsWith('internal_error', () => store.acquireLock('key', 1));
    await rejectsWith('internal_error', () => store.extendLock('key', 'token', 1));
    await rejectsWith('internal_error', () => store.releaseLock('key', 'token'));
    await rejectsWith('internal_error', () => store.publish('news', 1));
    await rejectsWith('internal_error', () => store.subscribe('news', () => {}));
  }),
];

function contractCase(
  name: string,
  run: (pair: StateStorePair, harness: StateStoreHarness) => Promise<void>,
): ContractCase<StateStoreHarness> {
  return {
    name,
    run: async (harness) => {
      const pair = await harness.create();
      try {
        await run(pair, harness);
      } finally {
        await pair.store.close();
        await pair.peer.close();
      }
    },
  };
}

async function rejectsWith(code: RpcErrorCode, attempt: () => Promise<unknown>): Promise<void> {
  await assert.rejects(attempt, (error) => {
    assert.ok(isRpcError(error), `expected an RpcError, got ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  });
}

/** Lets time go on until it holds, for at most five seconds of the harness' time. */
async function until(harness: StateStoreHarness, holds: () => boolean): Promise<void> {
  for (let step = 0; step < 250 && !holds(); step += 1) await harness.advance(20);
  assert.ok(holds(), 'what should have been delivered within five seconds was not');
}
