import { type JsonObject, RpcError, type RpcHandler } from '@mcp-blocks/core';
import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { RpcCaller, type RpcCallerOptions } from '../src/index.js';

const busy = (retryAfterMs?: number) => new RpcError('rate_limited', 'busy', retryAfterMs === undefined ? {} : { data: { retryAfterMs } });

/** A server that fails with the given errors in turn, then answers. */
function calling(failures: readonly unknown[], options: Partial<RpcCallerOptions> = {}) {
  const clock = new ManualClock();
  const times: number[] = [];
  const began = clock.now();
  const left = [...failures];
  const handler: RpcHandler = async ({ method }) => {
    times.push(clock.now() - began);
    if (left.length > 0) throw left.shift();
    return { method };
  };
  return { clock, times, caller: new RpcCaller({ handler, clock, random: () => 0.5, ...options }) };
}

describe('call', () => {
  it('waits a random part of a time that doubles up to its bound', async () => {
    const failures = Array.from({ length: 5 }, () => new RpcError('unavailable', 'down'));
    const { caller, clock, times } = calling(failures, { retries: { attempts: 5, initialDelayMs: 100, maxDelayMs: 500 } });
    const answer = caller.call('tools/list');
    await clock.advance(5000);
    expect(await answer).toEqual({ method: 'tools/list' });
    expect(times).toEqual([0, 50, 150, 350, 600, 850]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('waits as long as the server says, and a random time more', async () => {
    const { caller, clock, times } = calling([busy(2000)]);
    const answer = caller.call('tools/list');
    await clock.advance(2049);
    expect(times).toEqual([0]);
    await clock.advance(1);
    await answer;
    expect(times).toEqual([0, 2050]);
  });

  it('fails at once when the server says to wait longer than there is time', async () => {
    const { caller, clock, times } = calling([busy(2000)], { timeoutMs: 2000 });
    await expect(caller.call('tools/list')).rejects.toMatchObject({ code: 'rate_limited' });
    expect(times).toEqual([0]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each<[error: unknown, method: string, repeatable: boolean | undefined, attempts: number]>([
    [busy(), 'tools/call', undefined, 1],
    [busy(), 'tools/call', true, 3],
    [busy(), 'tools/list', false, 1],
    [busy(), 'custom/method', undefined, 1],
    [new RpcError('ambiguous_outcome', 'x'), 'resources/read', undefined, 3],
    [new RpcError('upstream_error', 'x'), 'resources/read', undefined, 3],
    [new RpcError('timeout', 'x'), 'resources/read', undefined, 1],
    [new RpcError('invalid_params', 'x'), 'resources/read', undefined, 1],
    [new RpcError('forbidden', 'x'), 'resources/read', undefined, 1],
    [new TypeError('bug'), 'resources/read', undefined, 1],
  ])('%s of %s (repeatable: %s) is sent %i times', async (error, method, repeatable, attempts) => {
    const { caller, clock, times } = calling([error, error, error, error]);
    const outcome = caller.call(method, {}, repeatable === undefined ? {} : { repeatable }).catch((failure: unknown) => failure);
    await clock.advance(10_000);
    expect(await outcome).toBe(error);
    expect(times).toHaveLength(attempts);
  });

  it('ends in time, also when nobody looks at the signal, and tells it', async () => {
    const clock = new ManualClock();
    let seen: AbortSignal | undefined;
    const handler: RpcHandler = (_request, { signal }) => {
      seen = signal;
      return new Promise(() => {});
    };
    const caller = new RpcCaller({ handler, clock, timeoutMs: 1000 });
    const outcome = expect(caller.call('tools/list')).rejects.toMatchObject({ code: 'timeout' });
    await clock.advance(1000);
    await outcome;
    expect(seen?.aborted).toBe(true);
    const given = new AbortController();
    const second = expect(caller.call('tools/list', {}, { signal: given.signal, timeoutMs: 50_000 })).rejects.toMatchObject({
      code: 'cancelled',
      cause: 'enough',
    });
    given.abort('enough');
    await second;
    await expect(caller.call('tools/list', {}, { signal: given.signal })).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('can be given up while it waits for the next attempt', async () => {
    const { caller, clock } = calling([busy(5000)]);
    const given = new AbortController();
    const outcome = expect(caller.call('tools/list', {}, { signal: given.signal })).rejects.toMatchObject({ code: 'cancelled' });
    await settle();
    given.abort();
    await outcome;
    expect(clock.pendingTimers).toBe(0);
  });

  it('goes through a connection, or a handler with a context', async () => {
    const sent: [string, JsonObject][] = [];
    const connection = {
      async request(method: string, params: JsonObject, { signal }: { signal: AbortSignal }) {
        expect(signal.aborted).toBe(false);
        sent.push([method, params]);
        return { ok: true };
      },
    };
    expect(await new RpcCaller({ connection }).call('tools/call', { name: 'x' })).toEqual({ ok: true });
    expect(sent).toEqual([['tools/call', { name: 'x' }]]);
    const principal = testPrincipal({ id: 'service' });
    const handler: RpcHandler = async (_request, context) => ({ who: context.principal.id, transport: context.transport });
    expect(await new RpcCaller({ handler, context: { principal } }).call('tools/list')).toEqual({ who: 'service', transport: 'memory' });
  });
});

describe('the retry budget', () => {
  it('lets retries be a share of the calls of ten seconds, and some per second', async () => {
    const clock = new ManualClock();
    let sent = 0;
    const handler: RpcHandler = async () => {
      sent += 1;
      throw new RpcError('unavailable', 'down');
    };
    const caller = new RpcCaller({
      handler,
      clock,
      random: () => 0,
      retries: { attempts: 10 },
      retryBudget: { ratio: 0.2, minPerSecond: 1 },
    });
    const calls = async (count: number) => {
      sent = 0;
      const outcomes = Promise.allSettled(Array.from({ length: count }, () => caller.call('tools/list')));
      await clock.advance(20);
      await outcomes;
      return sent;
    };
    expect(await calls(100)).toBe(100 + 20 + 10);
    expect(await calls(50)).toBe(50 + 10);
    await clock.advance(20_000);
    expect(await calls(5)).toBe(5 + 1 + 10);
  });
});

describe('batchCall', () => {
  it('answers for each call in its order, some at a time', async () => {
    let running = 0;
    let most = 0;
    const handler: RpcHandler = async ({ params }) => {
      running += 1;
      most = Math.max(most, running);
      await settle();
      running -= 1;
      if (params.n === 3) throw new RpcError('forbidden', 'not this one');
      return { n: params.n ?? null };
    };
    const caller = new RpcCaller({ handler });
    const items = [...Array(10).keys()].map((n) => ({ method: 'tools/list', params: { n } }));
    const results = await caller.batchCall(items, { concurrency: 4 });
    expect(most).toBe(4);
    expect(results).toEqual(
      items.map(({ params: { n } }) =>
        n === 3 ? { ok: false, error: expect.objectContaining({ code: 'forbidden' }) } : { ok: true, result: { n } },
      ),
    );
    expect(await caller.batchCall([])).toEqual([]);
  });

  it('repeats only what its items say is safe', async () => {
    const { caller, clock, times } = calling([busy(), busy()], { retries: { attempts: 1 } });
    const outcome = caller.batchCall([{ method: 'tools/call' }, { method: 'tools/call', repeatable: true }], { concurrency: 1 });
    await clock.advance(1000);
    expect((await outcome).map(({ ok }) => ok)).toEqual([false, true]);
    expect(times).toHaveLength(3);
  });
});

describe('wrong options are named', () => {
  const handler: RpcHandler = async () => ({});
  it.each<[options: unknown, option: string]>([
    [{}, 'handler'],
    [{ handler, connection: {} }, 'handler'],
    [{ handler, timeoutMs: 0 }, 'timeoutMs'],
    [{ handler, retries: { attempts: -1 } }, 'retries.attempts'],
    [{ handler, retries: { initialDelayMs: 0.5 } }, 'retries.initialDelayMs'],
    [{ handler, retries: { maxDelayMs: 0 } }, 'retries.maxDelayMs'],
    [{ handler, retryBudget: { ratio: 1.1 } }, 'retryBudget.ratio'],
    [{ handler, retryBudget: { minPerSecond: Number.NaN } }, 'retryBudget.minPerSecond'],
  ])('%j', (options, option) => {
    expect(() => new RpcCaller(options as RpcCallerOptions)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
  });

  it('of a call and of a batch too', async () => {
    const caller = new RpcCaller({ handler });
    await expect(caller.call('ping', {}, { timeoutMs: -1 })).rejects.toMatchObject({ option: 'timeoutMs' });
    await expect(caller.batchCall([], { concurrency: 0 })).rejects.toMatchObject({ option: 'concurrency' });
  });
});
