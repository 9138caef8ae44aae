import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type JsonObject, META, MemoryStateStore, RpcError, type RpcHandler, type RpcResult, type StateStore } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { Idempotency, type IdempotencyOptions } from '../src/index.js';
import { RedisStateStore } from '../src/redis.js';
import { SqliteStateStore } from '../src/sqlite.js';
import { gated } from './gated-store.js';
import { hook, redisUrl, temporaryFile, uniquePrefix } from './harness.js';

/** A lease that no busy machine outlasts, for nodes that live. */
const LONG_MS = 600_000;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

interface Place {
  open(): StateStore;
  /** Provider and place, for other processes. */
  readonly args?: readonly [string, string, string];
}

const places: Record<string, () => Place> = {
  memory: () => {
    const store = new MemoryStateStore();
    return { open: () => store };
  },
  sqlite: () => {
    const path = temporaryFile();
    return { open: () => new SqliteStateStore({ path }), args: ['sqlite', path, ''] };
  },
  redis: () => {
    const keyPrefix = uniquePrefix();
    return { open: () => new RedisStateStore({ url: redisUrl(), keyPrefix }), args: ['redis', redisUrl(), keyPrefix] };
  },
};

function node(store: StateStore, handler: RpcHandler, options: Partial<IdempotencyOptions> = {}) {
  const idempotency = new Idempotency({ store, serviceName: 'orders', leaseMs: LONG_MS, waitMs: LONG_MS, ...options });
  cleanups.push(async () => {
    await idempotency.close();
    await store.close();
  });
  const guarded = idempotency.middleware(handler);
  const call = (key: unknown, args: JsonObject = {}, context = testContext(), rest: JsonObject = {}) =>
    guarded(
      { method: 'tools/call', params: { name: 'pay', arguments: args, _meta: { [META.idempotencyKey]: key as string }, ...rest } },
      context,
    );
  return { idempotency, guarded, call };
}

/** Counts what it does; each call waits for `gate`. */
function effects(gate: () => Promise<unknown> = async () => {}) {
  const done: unknown[] = [];
  const handler: RpcHandler = async ({ params }) => {
    await gate();
    done.push(params.arguments);
    return { content: [{ type: 'text', text: `effect ${done.length}` }], z: 1, a: 2 };
  };
  return { done, handler };
}

function latch() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

const failsWith = (code: string, reason: string) => expect.objectContaining({ code, data: expect.objectContaining({ reason }) });

describe.each(Object.entries(places))('two nodes with a store in %s', (_name, make) => {
  it('a call that comes again, at either node, gets the recorded result', async () => {
    const place = make();
    const { done, handler } = effects();
    const [one, two] = [node(place.open(), handler), node(place.open(), handler)];
    const first = await one.call('k', { sum: 1 });
    for (const again of [one, two, one]) expect(JSON.stringify(await again.call('k', { sum: 1 }))).toBe(JSON.stringify(first));
    expect(done).toEqual([{ sum: 1 }]);
    expect(one.idempotency.getMetrics()).toEqual({ executed: 1, replayed: 2, reused: 0, unknown: 0, unrecorded: 0 });
    expect(two.idempotency.getMetrics()).toMatchObject({ executed: 0, replayed: 1 });
  });

  it('duplicates at the same time wait for the first', async () => {
    const place = make();
    const gate = latch();
    const { done, handler } = effects(() => gate.opened);
    const [one, two] = [node(place.open(), handler), node(place.open(), handler)];
    const calls = [one, two, one, two].map(({ call }) => call('k'));
    gate.open();
    const results = await Promise.all(calls);
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
    expect(done).toHaveLength(1);
  });

  it('the same key with other arguments is refused, at either node, also while the first is in progress', async () => {
    const place = make();
    const gate = latch();
    const { done, handler } = effects(() => gate.opened);
    const [one, two] = [node(place.open(), handler), node(place.open(), handler)];
    const first = one.call('k', { sum: 1 });
    await expect.poll(() => one.idempotency.getMetrics().executed, { timeout: 20_000 }).toBe(1);
    await expect(one.call('k', { sum: 2 })).rejects.toEqual(failsWith('invalid_params', 'idempotency_key_reused'));
    await expect(two.call('k', { sum: 2 })).rejects.toEqual(failsWith('invalid_params', 'idempotency_key_reused'));
    gate.open();
    await first;
    await expect(two.call('k', { sum: 2 })).rejects.toEqual(failsWith('invalid_params', 'idempotency_key_reused'));
    expect(done).toEqual([{ sum: 1 }]);
  });

  it('what was begun at a node that is gone is not carried out again, unless the operator says so', async () => {
    const place = make();
    const store = gated(place.open());
    const gone = node(store, () => new Promise(() => {}), { leaseMs: 100 });
    void gone.call('k').catch(() => {});
    await expect.poll(() => gone.idempotency.getMetrics().executed, { timeout: 20_000 }).toBe(1);
    store.cut();
    const { done, handler } = effects();
    const careful = node(place.open(), handler);
    await expect(careful.call('k')).rejects.toEqual(failsWith('ambiguous_outcome', 'idempotency_unknown'));
    await expect(careful.call('k', { other: 1 })).rejects.toEqual(failsWith('invalid_params', 'idempotency_key_reused'));
    expect(done).toEqual([]);
    const bold = node(place.open(), handler, { onUnknown: 'retry' });
    const result = await bold.call('k');
    expect(await careful.call('k')).toEqual(result);
    expect(done).toHaveLength(1);
  });

  it('whatever comes when and where, each key has one effect and one answer', async () => {
    const keys = fc.constantFrom('a', 'b', 'c');
    const visit = fc.record({ key: keys, second: fc.boolean(), turns: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(visit, { minLength: 1, maxLength: 12 }),
        fc.array(fc.constantFrom('ok', 'fails', 'refuses'), { maxLength: 4 }),
        async (visits, ends) => {
          const place = make();
          const log: string[] = [];
          const left = [...ends];
          const handler: RpcHandler = async ({ params }) => {
            const key = String((params._meta as JsonObject)[META.idempotencyKey]);
            const end = left.shift() ?? 'ok';
            await new Promise((resolve) => setImmediate(resolve));
            if (end === 'refuses') throw new RpcError('unavailable', 'not now');
            log.push(key);
            if (end === 'fails') throw new RpcError('internal_error', `failed ${log.length}`);
            return { n: log.length };
          };
          const nodes = [node(place.open(), handler), node(place.open(), handler)];
          const answers = await Promise.all(
            visits.map(async ({ key, second, turns }) => {
              for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
              const answer = await nodes[second ? 1 : 0]!.call(key).catch((error: RpcError) => ({
                code: error.code,
                message: error.message,
              }));
              return { key, answer: answer as RpcResult };
            }),
          );
          expect(new Set(log).size).toBe(log.length);
          for (const key of new Set(visits.map((one) => one.key))) {
            const given = answers
              .filter((one) => one.key === key && one.answer.code !== 'unavailable')
              .map(({ answer }) => JSON.stringify(answer));
            expect(new Set(given).size).toBe(log.includes(key) ? 1 : 0);
          }
          for (const cleanup of cleanups.splice(0)) await cleanup();
        },
      ),
      { numRuns: make === places.memory ? 200 : 15 },
    );
  });
});

describe.each(['sqlite', 'redis'])('a process killed with SIGKILL, with a store in %s', (name) => {
  async function worker(place: Place, mode: 'before' | 'after') {
    const program = fileURLToPath(new URL('fixtures/idempotent-worker.ts', import.meta.url));
    const execArgv = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook];
    const child = fork(program, [...place.args!, mode], { execArgv });
    onTestFinished(() => void child.kill('SIGKILL'));
    await Promise.race([message(child, mode === 'before' ? 'begun' : 'recorded'), failed(child)]);
    child.removeAllListeners('exit');
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  it('after the effect was recorded and before the answer: the result is there', async () => {
    const place = places[name]!();
    await worker(place, 'after');
    const { done, handler } = effects();
    expect(await node(place.open(), handler).call('k', { sum: 1 })).toEqual({ content: [{ type: 'text', text: 'by the worker' }] });
    expect(done).toEqual([]);
  });

  it('in the middle of the call: its outcome is not known, and it is not carried out again', async () => {
    const place = places[name]!();
    await worker(place, 'before');
    const { done, handler } = effects();
    await expect(node(place.open(), handler).call('k', { sum: 1 })).rejects.toEqual(failsWith('ambiguous_outcome', 'idempotency_unknown'));
    expect(done).toEqual([]);
  });
});

function message(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve) => child.on('message', (sent) => sent === name && resolve()));
}

function failed(child: ChildProcess): Promise<never> {
  return new Promise((_, reject) => child.once('exit', (code) => reject(new Error(`the worker ended with code ${code}`))));
}

describe('whose key it is', () => {
  const results = async (calls: readonly ((call: ReturnType<typeof node>) => Promise<RpcResult>)[]) => {
    const { done, handler } = effects();
    const only = node(new MemoryStateStore(), handler);
    for (const call of calls) await call(only);
    return done.length;
  };

  it('principals, tools, services and scopes have nothing to do with each other', async () => {
    const bob = testContext({ principal: testPrincipal({ id: 'bob' }) });
    expect(await results([({ call }) => call('k'), ({ call }) => call('k', {}, bob)])).toBe(2);
    expect(await results([({ call }) => call('k'), ({ call }) => call('k', {}, testContext(), { name: 'refund' })])).toBe(2);
    const scoped = { [META.idempotencyKey]: 'k', [META.idempotencyScope]: 'carol' };
    expect(await results([({ call }) => call('k'), ({ call }) => call('k', {}, testContext(), { _meta: scoped })])).toBe(2);
    const store = new MemoryStateStore();
    const { done, handler } = effects();
    await node(store, handler, { serviceName: 'a' }).call('k');
    await node(store, handler, { serviceName: 'b' }).call('k');
    expect(done).toHaveLength(2);
  });

  it('what else a call carries along makes no other call of it', async () => {
    const meta = { [META.idempotencyKey]: 'k', progressToken: 7 };
    expect(
      await results([({ call }) => call('k', { a: 1, b: 2 }), ({ call }) => call('k', { b: 2, a: 1 }, testContext(), { _meta: meta })]),
    ).toBe(1);
  });

  it('calls without a key, and methods that may be repeated anyway, pass', async () => {
    const { done, handler } = effects();
    const { guarded, idempotency } = node(new MemoryStateStore(), handler);
    const keyed = { _meta: { [META.idempotencyKey]: 'k' } };
    for (let n = 0; n < 2; n += 1) {
      await guarded({ method: 'tools/call', params: { name: 'pay' } }, testContext());
      await guarded({ method: 'resources/read', params: { uri: 'x:y', ...keyed } }, testContext());
    }
    expect(done).toHaveLength(4);
    expect(idempotency.getMetrics().executed).toBe(0);
  });

  it.each([[''], [7], [null], ['x'.repeat(256)], [{}]])('refuses %j as a key', async (key) => {
    const { done, handler } = effects();
    await expect(node(new MemoryStateStore(), handler).call(key)).rejects.toMatchObject({ code: 'invalid_params' });
    expect(done).toEqual([]);
  });
});

describe('how a call ended', () => {
  it('a failure is repeated as it was', async () => {
    let calls = 0;
    const { call } = node(new MemoryStateStore(), async () => {
      calls += 1;
      throw new RpcError('upstream_error', 'broken', { data: { part: 3 }, jsonRpcCode: -32099, cause: new Error('secret') });
    });
    const failures = [await call('k').catch((e: RpcError) => e), await call('k').catch((e: RpcError) => e)] as RpcError[];
    expect(calls).toBe(1);
    for (const { code, message: text, data, jsonRpcCode } of failures)
      expect({ code, text, data, jsonRpcCode }).toEqual({ code: 'upstream_error', text: 'broken', data: { part: 3 }, jsonRpcCode: -32099 });
  });

  it("an unexpected error's message is not recorded", async () => {
    const store = new MemoryStateStore();
    const { call } = node(store, () => Promise.reject(new Error('password is 123')));
    await expect(call('k')).rejects.toThrow('password is 123');
    await expect(call('k')).rejects.toMatchObject({ code: 'internal_error', message: 'Internal error' });
  });

  it.each(['unavailable', 'rate_limited', 'unauthenticated', 'forbidden', 'insufficient_scope', 'missing_client_capability'] as const)(
    'after %s, which says that nothing was done, the key may try again',
    async (code) => {
      const { done, handler } = effects();
      let refused = 0;
      const { call } = node(new MemoryStateStore(), async (request, context) => {
        if (refused++ === 0) throw new RpcError(code, 'no');
        return handler(request, context);
      });
      await expect(call('k')).rejects.toMatchObject({ code });
      await call('k');
      await call('k');
      expect(done).toHaveLength(1);
    },
  );

  it.each(['cancelled', 'timeout', 'ambiguous_outcome'] as const)(
    'after %s nobody knows, and it is not carried out again',
    async (code) => {
      let calls = 0;
      const { call } = node(new MemoryStateStore(), async () => {
        calls += 1;
        throw new RpcError(code, 'gone');
      });
      await expect(call('k')).rejects.toMatchObject({ code, message: 'gone' });
      await expect(call('k')).rejects.toEqual(failsWith('ambiguous_outcome', 'idempotency_unknown'));
      expect(calls).toBe(1);
    },
  );

  it('a caller that leaves does not undo what was done: the result is there for the next', async () => {
    const caller = new AbortController();
    const gate = latch();
    const { done, handler } = effects(() => gate.opened);
    const { call } = node(new MemoryStateStore(), handler);
    const first = call('k', {}, testContext({ signal: caller.signal }));
    await settle();
    caller.abort();
    gate.open();
    await first;
    await call('k');
    expect(done).toHaveLength(1);
  });

  it('a result that is too large goes to the first caller only', async () => {
    let calls = 0;
    const { call } = node(new MemoryStateStore(), async () => ({ calls: (calls += 1), text: 'x'.repeat(100) }), { maxResultBytes: 100 });
    expect(await call('k')).toMatchObject({ calls: 1 });
    await expect(call('k')).rejects.toEqual(failsWith('ambiguous_outcome', 'idempotency_result_not_kept'));
    expect(calls).toBe(1);
  });

  it('a call goes through the rounds of its questions, and ends once', async () => {
    const log: string[] = [];
    const { call } = node(new MemoryStateStore(), async ({ params }) => {
      const { inputResponses, requestState } = params as { inputResponses?: { name?: string }; requestState?: string };
      if (inputResponses === undefined) {
        log.push('asked');
        return { resultType: 'input_required', inputRequests: { name: {} }, requestState: `s${log.length}` };
      }
      if (inputResponses.name === '') throw new RpcError('unavailable', 'not now');
      log.push(`paid by ${inputResponses.name} ${requestState}`);
      return { content: [] };
    });
    const asked = await call('k');
    expect(asked).toMatchObject({ resultType: 'input_required', requestState: 's1' });
    expect(await call('k')).toEqual(asked);
    const round = (name: string) => call('k', {}, testContext(), { inputResponses: { name }, requestState: 's1' });
    await expect(round('')).rejects.toMatchObject({ code: 'unavailable' });
    expect(await call('k')).toEqual(asked);
    expect(await round('alice')).toEqual({ content: [] });
    expect(await round('alice')).toEqual({ content: [] });
    expect(await call('k')).toEqual({ content: [] });
    expect(log).toEqual(['asked', 'paid by alice s1']);
  });
});

describe('time', () => {
  function timed(handler: RpcHandler, options: Partial<IdempotencyOptions> = {}) {
    const clock = new ManualClock();
    const store = gated(new MemoryStateStore({ clock }));
    const times = { clock, leaseMs: 9_000, waitMs: 5_000, ttlMs: 60_000, ...options };
    return { clock, store, times, ...node(store, handler, times) };
  }

  it('an outcome is forgotten after its time', async () => {
    const { done, handler } = effects();
    const { call, clock } = timed(handler);
    await call('k');
    await clock.advance(59_000);
    await call('k');
    expect(done).toHaveLength(1);
    await clock.advance(2_000);
    await call('k');
    expect(done).toHaveLength(2);
  });

  it('a duplicate waits for so long and no longer, and hears that the call is in progress', async () => {
    const gate = latch();
    const { done, handler } = effects(() => gate.opened);
    const { call, clock, store, times } = timed(handler);
    const first = call('k');
    await settle();
    const outcomes: unknown[] = [];
    const waiting = [call('k'), node(store, handler, times).call('k')].map((again) =>
      again.catch((error: unknown) => outcomes.push(error)),
    );
    await clock.advance(4_900);
    expect(outcomes).toEqual([]);
    await clock.advance(200);
    await Promise.all(waiting);
    expect(outcomes).toEqual(Array(2).fill(failsWith('ambiguous_outcome', 'idempotency_in_progress')));
    gate.open();
    expect(await call('k')).toEqual(await first);
    expect(done).toHaveLength(1);
  });

  it('a duplicate whose caller leaves waits no longer', async () => {
    const { call, clock } = timed(() => new Promise(() => {}));
    void call('k').catch(() => {});
    await settle();
    const caller = new AbortController();
    const again = call('k', {}, testContext({ signal: caller.signal }));
    again.catch(() => {});
    await settle();
    caller.abort();
    await expect(again).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.pendingTimers).toBe(1);
  });

  it('a call may take longer than the lease and longer than records are kept', async () => {
    const gate = latch();
    const { done, handler } = effects(() => gate.opened);
    const { call, clock, store, times } = timed(handler);
    const first = call('k');
    for (let n = 0; n < 50; n += 1) await clock.advance(3_000);
    const other = node(store, handler, times);
    const again = other.call('k').catch((error: unknown) => error);
    await clock.advance(6_000);
    expect(await again).toEqual(failsWith('ambiguous_outcome', 'idempotency_in_progress'));
    gate.open();
    await first;
    expect(await other.call('k')).toEqual(await first);
    expect(done).toHaveLength(1);
  });

  it('nothing is left to do when nothing is in progress', async () => {
    const { call, clock, idempotency } = timed(effects().handler);
    await call('k');
    await clock.advance(9_000);
    expect(clock.pendingTimers).toBe(0);
    await idempotency.close();
    await idempotency.close();
    await expect(call('other')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('while the store is out of reach', () => {
  function cut(options: Partial<IdempotencyOptions> = {}) {
    const clock = new ManualClock();
    const store = gated(new MemoryStateStore({ clock }));
    const { done, handler } = effects();
    const times = { clock, leaseMs: 9_000, waitMs: 60_000 };
    const one = node(store, handler, { ...times, ...options });
    return { clock, store, done, ...one, other: () => node(store, handler, times) };
  }

  it('calls with a key fail, and are not carried out', async () => {
    const { store, call, done, guarded } = cut();
    store.cut();
    await expect(call('k')).rejects.toMatchObject({ code: 'unavailable' });
    expect(done).toEqual([]);
    await guarded({ method: 'tools/call', params: { name: 'pay' } }, testContext());
    expect(done).toHaveLength(1);
    store.mend();
    await call('k');
    expect(done).toHaveLength(2);
  });

  it('calls with a key are carried out where the operator says so', async () => {
    const { store, call, done } = cut({ onStoreFailure: 'run' });
    store.cut();
    await call('k');
    expect(done).toHaveLength(1);
  });

  it('a claim that the store has written and not answered holds nobody up for long', async () => {
    const { store, call, done, other, clock } = cut();
    await call('before');
    store.loseNextAnswer('set');
    await expect(call('k')).rejects.toMatchObject({ code: 'unavailable' });
    const again = other().call('k');
    await clock.advance(9_000);
    await again;
    expect(done).toHaveLength(2);
  });

  it('an outcome that cannot be recorded is answered, and recorded when the store is back', async () => {
    const clock = new ManualClock();
    const store = gated(new MemoryStateStore({ clock }));
    const { done, handler } = effects(async () => store.cut());
    const { call, idempotency } = node(store, handler, { clock, leaseMs: 9_000, waitMs: 60_000 });
    const result = await call('k');
    expect(idempotency.getMetrics().unrecorded).toBe(1);
    await clock.advance(4_000);
    store.mend();
    await clock.advance(3_000);
    expect(idempotency.getMetrics().unrecorded).toBe(0);
    expect(await call('k')).toEqual(result);
    expect(done).toHaveLength(1);
  });

  it('a record that the store has lost is written again with the outcome', async () => {
    const clock = new ManualClock();
    const inner = new MemoryStateStore({ clock });
    const { done, handler } = effects(async () => {
      // As if the server had come back without its data.
      for (const key of keys) await inner.delete(key);
    });
    const keys: string[] = [];
    const store = gated(inner, (key) => keys.push(key));
    const { call } = node(store, handler, { clock });
    await call('k');
    await call('k');
    expect(done).toHaveLength(1);
  });
});

it.each<[string, Record<string, unknown>]>([
  ['store', { store: undefined }],
  ['store', { store: {} }],
  ['serviceName', { serviceName: '' }],
  ['leaseMs', { leaseMs: 99 }],
  ['ttlMs', { leaseMs: 1_000, ttlMs: 1_999 }],
  ['waitMs', { waitMs: -1 }],
  ['waitMs', { waitMs: 0.5 }],
  ['maxResultBytes', { maxResultBytes: 0 }],
  ['onUnknown', { onUnknown: 'ignore' }],
  ['onStoreFailure', { onStoreFailure: 'fail' }],
  ['ttl', { ttl: 5 }],
])('names the wrong option %s', (option, wrong) => {
  const options = { store: new MemoryStateStore(), serviceName: 'orders', ...wrong } as never;
  expect(() => new Idempotency(options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
});
