import type { RpcRequest } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { RequestLimit } from '../src/index.js';
import { alice, bob, call, limited, list, refused } from './harness.js';

/** The calls that pass among some at the given waits, with their times and costs. */
async function passing(limit: Omit<RequestLimit, 'by'>, steps: readonly { waitMs: number; cost: number }[]) {
  const clock = new ManualClock();
  const { handle } = limited({ limits: [{ by: 'principal', ...limit, cost: ({ params }) => params.cost as number }], clock });
  const passed: { time: number; cost: number }[] = [];
  const refusals: { time: number; cost: number; retryAfterMs: number }[] = [];
  for (const { waitMs, cost } of steps) {
    await clock.advance(waitMs);
    const request: RpcRequest = { method: 'tools/list', params: { cost } };
    try {
      await handle(request, alice);
      passed.push({ time: clock.now(), cost });
    } catch (error) {
      const { retryAfterMs } = (error as { data: { retryAfterMs: number } }).data;
      refusals.push({ time: clock.now(), cost, retryAfterMs });
      // What it was told holds: not a millisecond earlier, and then at once.
      await clock.advance(retryAfterMs - 1);
      await refused(handle(request, alice));
      await clock.advance(1);
      await handle(request, alice);
      passed.push({ time: clock.now(), cost });
    }
  }
  return { passed, refusals };
}

const steps = fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 400 }), cost: fc.integer({ min: 1, max: 3 }) }), { maxLength: 40 });

describe('sliding window', () => {
  const sliding = { algorithm: 'sliding-window', by: 'principal' } as const;

  it.each([1000, 7, 61, 30])('never lets more through in any stretch of its length (%i ms)', async (windowMs) => {
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const { passed } = await passing({ algorithm: 'sliding-window', requests: 4, windowMs }, taken);
        for (const { time } of passed) {
          const within = passed.filter((other) => other.time >= time && other.time < time + windowMs);
          expect(within.reduce((sum, { cost }) => sum + cost, 0)).toBeLessThanOrEqual(4);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('gives a request room again after the window or a thirtieth of it later', async () => {
    const clock = new ManualClock(1_700_000_000_017);
    const { handle, limiter } = limited({ limits: [{ ...sliding, requests: 2, windowMs: 3000 }], clock });
    await handle(list, alice);
    await clock.advance(1000);
    await handle(list, alice);
    expect((await refused(handle(list, alice))).data).toEqual({
      retryAfterMs: 2083,
      limit: 2,
      remaining: 0,
      resetMs: 3083,
      by: 'principal',
    });
    await clock.advance(2083);
    expect(await limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 1, remaining: 1, resetMs: 1000 }]);
    await handle(list, alice);
  });

  it('lets no more through when the clock goes back', async () => {
    const clock = new ManualClock();
    const { handle } = limited({ limits: [{ ...sliding, requests: 2, windowMs: 3000 }], clock });
    await clock.advance(60_000);
    await handle(list, alice);
    await clock.advance(-30_000);
    await handle(list, alice);
    await refused(handle(list, alice));
  });
});

describe('token bucket', () => {
  const bucket = { algorithm: 'token-bucket', by: 'principal' } as const;

  it.each([
    [4, 1000, 6],
    [3, 7, 3],
    [7, 3000, 20],
  ])('lets through at most its burst and what flowed in (%i per %i ms, burst %i)', async (requests, windowMs, burst) => {
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const { passed } = await passing({ algorithm: 'token-bucket', requests, windowMs, burst }, taken);
        for (const [index, { time }] of passed.entries()) {
          let sum = 0;
          for (const later of passed.slice(index)) {
            sum += later.cost;
            expect(sum).toBeLessThanOrEqual(burst + ((later.time - time) * requests) / windowMs);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  it('is full at first, fills evenly and no further than its burst', async () => {
    const clock = new ManualClock();
    const { handle, limiter } = limited({ limits: [{ ...bucket, requests: 2, windowMs: 1000, burst: 5 }], clock });
    for (let i = 0; i < 5; i += 1) await handle(list, alice);
    expect((await refused(handle(list, alice))).data).toMatchObject({ retryAfterMs: 500, resetMs: 2500, limit: 2 });
    await clock.advance(499);
    await refused(handle(list, alice));
    await clock.advance(1);
    await handle(list, alice);
    await clock.advance(60_000);
    expect(await limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 0, remaining: 5, resetMs: 0 }]);
  });

  it('gains nothing when the clock goes back and comes again', async () => {
    const clock = new ManualClock();
    const { handle } = limited({ limits: [{ ...bucket, requests: 1, windowMs: 1000 }], clock });
    await handle(list, alice);
    await clock.advance(-5000);
    await refused(handle(list, alice));
    await clock.advance(5000);
    await refused(handle(list, alice));
    await clock.advance(1000);
    await handle(list, alice);
  });
});

const ALGORITHMS = ['fixed-window', 'sliding-window', 'token-bucket'] as const;

describe.each(ALGORITHMS)('every algorithm: %s', (algorithm) => {
  const limit = { by: 'principal', algorithm, requests: 10, windowMs: 3_600_000 } as const;

  it('counts a call for what it costs', async () => {
    const cost = ({ params }: RpcRequest) => params.cost as number;
    const { handle, limiter } = limited({ limits: [{ ...limit, cost }] });
    const costing = (points: number): RpcRequest => ({ method: 'tools/list', params: { cost: points } });
    await handle(costing(7), alice);
    expect((await refused(handle(costing(4), alice))).data).toMatchObject({ remaining: 3 });
    await handle(costing(0), alice);
    await handle(costing(3), alice);
    await handle(costing(0), alice);
    expect(await limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 10, remaining: 0 }]);
    const never = await refused(handle(costing(11), bob));
    expect(never.data).toEqual({ limit: 10, remaining: 10, resetMs: 1, by: 'principal' });
    expect(never.headers).toEqual({ ratelimit: '"principal";r=10', 'ratelimit-policy': '"principal";q=10;w=3600' });
    await expect(handle(costing(1.5), alice)).rejects.toMatchObject({ code: 'internal_error' });
    await expect(handle(costing(-1), alice)).rejects.toMatchObject({ code: 'internal_error' });
    await limiter.close();
  });

  it('bounds memory: keys beyond maxKeys share one count', async () => {
    const { handle, limiter } = limited({ limits: [{ ...limit, by: 'tool', requests: 1 }], maxKeys: 2 });
    await handle(call('a'), alice);
    await handle(call('b'), alice);
    await handle(call('c'), alice);
    await refused(handle(call('d'), alice));
    await refused(handle(call('a'), alice));
    expect(await limiter.resetRateLimit({ tool: 'a' })).toBe(1);
    await handle(call('a'), alice);
    expect(await limiter.resetRateLimit({ tool: 'e' })).toBe(1);
    await handle(call('e'), alice);
    await limiter.close();
  });
});

describe.each(['fixed-window', 'sliding-window'] as const)('every window: %s', (algorithm) => {
  const limit = { by: 'principal', algorithm, requests: 10, windowMs: 3_600_000 } as const;

  it.each(['skipSuccessful', 'skipFailed'] as const)('%s: gives back what the other calls keep', async (skip) => {
    const { handle, limiter } = limited({ limits: [{ ...limit, requests: 3, [skip]: true }] }, async ({ params }) => {
      if (params.name === 'throws') throw new Error('broken');
      return params.name === 'fails' ? { isError: true } : {};
    });
    const used = async () => (await limiter.getRateLimitStatus({ principal: alice.principal }))[0]?.used;
    for (let i = 0; i < 5; i += 1) {
      for (const name of skip === 'skipFailed' ? ['throws', 'fails'] : ['works']) await handle(call(name), alice).catch(() => {});
    }
    expect(await used()).toBe(0);
    for (const name of skip === 'skipFailed' ? ['works', 'works', 'works'] : ['throws', 'fails', 'fails']) {
      await handle(call(name), alice).catch(() => {});
    }
    expect(await used()).toBe(3);
    await refused(handle(call('works'), alice));
    await limiter.close();
  });

  it.each(['skipSuccessful', 'skipFailed'] as const)('%s: gives nothing back to who gives a call up', async (skip) => {
    let runs = 0;
    const { handle, limiter } = limited({ limits: [{ ...limit, requests: 2, [skip]: true }] }, async (_request, { signal }) => {
      runs += 1;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    });
    for (let i = 0; i < 2; i += 1) {
      const caller = new AbortController();
      const given = handle(list, { ...alice, signal: caller.signal });
      await expect.poll(() => runs).toBe(i + 1);
      caller.abort(new Error('changed my mind'));
      await expect(given).rejects.toThrow('changed my mind');
    }
    await refused(handle(list, alice));
    await limiter.close();
  });

  it('counts a call while it runs, also one whose cost is given back in the end', async () => {
    let end: (() => void) | undefined;
    const running = new Promise<void>((resolve) => (end = resolve));
    const { handle, limiter } = limited({ limits: [{ ...limit, requests: 1, skipSuccessful: true }] }, async () => {
      await running;
      return {};
    });
    const first = handle(list, alice);
    await refused(handle(list, alice));
    end?.();
    await first;
    await handle(list, alice);
    await limiter.close();
  });

  it('a refund after its time gives nothing away', async () => {
    // Fixed windows read the machine's clock.
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: 1_700_000_000_000 });
    onTestFinished(() => void vi.useRealTimers());
    const ends: (() => void)[] = [];
    const short = { ...limit, requests: 2, windowMs: 1000, skipSuccessful: true };
    const { handle, limiter } = limited({ limits: [short] }, () => new Promise((resolve) => ends.push(() => resolve({}))));
    const used = async () => (await limiter.getRateLimitStatus({ principal: alice.principal }))[0]?.used;
    const early = handle(list, alice);
    await settle();
    vi.advanceTimersByTime(2000);
    expect(await used()).toBe(0);
    const later = [handle(list, alice), handle(list, alice)];
    await settle();
    ends[0]?.();
    await early;
    expect(await used()).toBe(2);
    for (const end of ends) end();
    await Promise.all(later);
    expect(await used()).toBe(0);
    await limiter.close();
  });
});
