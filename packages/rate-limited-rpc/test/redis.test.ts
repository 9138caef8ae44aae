import { randomUUID } from 'node:crypto';
import { systemClock } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type LimitCounters, type LimitRule, type PaidCharge, RateLimitedRPC, type RateLimitedRpcOptions } from '../src/index.js';
import { MemoryLimitCounters } from '../src/memory-limit-store.js';
import { RedisCommands } from '../src/redis/redis-commands.js';
import { RedisLimitCounters } from '../src/redis/redis-limit-counters.js';
import { type RedisLimitsOptions, redisLimits } from '../src/redis.js';
import { gateTo } from './gate.js';
import { alice, bob, call, limited, list, refused } from './harness.js';

const url = process.env.MCP_BLOCKS_REDIS_URL as string;
const prefix = () => `test-${randomUUID()}:`;
const hour = 3_600_000;

function limiting(options: Omit<RateLimitedRpcOptions, 'store'>, redis: Partial<RedisLimitsOptions> & { keyPrefix: string }) {
  const made = limited({ ...options, store: redisLimits({ url, ...redis } as RedisLimitsOptions) });
  onTestFinished(() => made.limiter.close());
  return made;
}

const RULES: readonly LimitRule[] = [
  { name: 'fixed', algorithm: 'fixed-window', requests: 5, windowMs: hour, burst: 5 },
  { name: 'sliding', algorithm: 'sliding-window', requests: 4, windowMs: hour + 7, burst: 4 },
  { name: 'bucket', algorithm: 'token-bucket', requests: 3, windowMs: hour + 1, burst: 7 },
];

describe('counts in Redis are those of memory', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const key = fc.constantFrom('a', 'b');
  const rules = fc.subarray([0, 1, 2], { minLength: 1 });
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ waitMs: fc.integer({ min: 0, max: hour / 3 }) }) },
    { weight: 6, arbitrary: fc.record({ rules, key, cost: fc.integer({ min: 1, max: 8 }) }) },
    { weight: 2, arbitrary: fc.record({ giveBack: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ forget: rules, key }) },
  );

  it('under any calls, refunds and resets', async () => {
    const client = new Redis(url);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        vi.setSystemTime(1_700_000_000_000);
        const commands = new RedisCommands({
          client,
          keyPrefix: prefix(),
          commandTimeoutMs: 10_000,
          clock: systemClock,
          now: Date.now,
          end: () => {},
        });
        const redis = new RedisLimitCounters(commands, { leaseMs: 15_000, clock: systemClock });
        const memory = new MemoryLimitCounters(RULES, { maxKeys: 100, clock: systemClock });
        const paid: { inMemory: PaidCharge[]; inRedis: PaidCharge[] }[] = [];
        for (const current of steps) {
          if ('waitMs' in current) {
            vi.setSystemTime(Date.now() + current.waitMs);
          } else if ('giveBack' in current) {
            const [back] = paid.splice(current.giveBack, 1);
            if (back === undefined) continue;
            await memory.refund(back.inMemory);
            await redis.refund(back.inRedis);
          } else {
            const charges = ('forget' in current ? current.forget : current.rules).map((index) => ({
              rule: RULES[index]!,
              key: current.key,
              cost: 'cost' in current ? current.cost : 0,
            }));
            if ('forget' in current) {
              await memory.reset(charges);
              await redis.reset(charges);
              // What was counted before a reset is not given back after it.
              paid.length = 0;
            } else {
              const [expected, actual] = [memory.charge(charges), await redis.charge(charges)];
              const bare = ({ allowed, verdicts }: typeof actual) => ({
                allowed,
                verdicts: verdicts.map(({ receipt, ...rest }) => ({ ...rest, counted: receipt > 0 })),
              });
              expect(bare(actual)).toEqual(bare(expected));
              if (expected.allowed) {
                const receipts = ({ verdicts }: typeof actual) =>
                  charges
                    .map((charge, index) => ({ ...charge, receipt: verdicts[index]!.receipt }))
                    .filter(({ rule }) => rule.algorithm !== 'token-bucket');
                paid.push({ inMemory: receipts(expected), inRedis: receipts(actual) });
              }
            }
            const standing = async (counters: LimitCounters) =>
              (await counters.peek(RULES.map((rule) => ({ rule, key: current.key, cost: 0 })))).map(({ used, remaining, resetMs }) => ({
                used,
                remaining,
                resetMs,
              }));
            expect(await standing(redis)).toEqual(await standing(memory));
          }
        }
        await memory.close();
      }),
      { numRuns: 60 },
    );
    client.disconnect();
  });
});

describe('limits in Redis', () => {
  it('are shared, and a call counts on all of them or on none, whoever else calls', async () => {
    const keyPrefix = prefix();
    const limits: RateLimitedRpcOptions['limits'] = [
      { by: 'method', requests: 7, windowMs: hour, algorithm: 'sliding-window' },
      { by: 'tool', requests: 3, windowMs: hour },
      { by: 'principal', requests: 100, windowMs: hour, algorithm: 'token-bucket' },
    ];
    const processes = [1, 2, 3].map(() => limiting({ limits }, { keyPrefix }));
    const outcomes = await Promise.allSettled(
      [...Array(60).keys()].map((i) => processes[i % 3]!.handle(call(i < 40 ? 'a' : i < 50 ? 'b' : 'c'), alice)),
    );
    const passed = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(passed).toBe(7);
    expect(processes.reduce((sum, { calls }) => sum + calls.length, 0)).toBe(7);
    const status = await processes[0]!.limiter.getRateLimitStatus({ principal: alice.principal, method: 'tools/call' });
    expect(status).toMatchObject([{ used: 7, remaining: 0 }, { used: 7 }]);
    expect(await processes[1]!.limiter.resetRateLimit({ method: 'tools/call' })).toBe(1);
    await processes[2]!.handle(call('d'), alice);
  });

  it('go by the clock of Redis, and leave nothing behind', async () => {
    const keyPrefix = prefix();
    const algorithms = ['fixed-window', 'sliding-window', 'token-bucket'] as const;
    const limits = algorithms.map((algorithm) => ({ by: 'principal', algorithm, requests: 2, windowMs: 60 }) as const);
    const { handle } = limiting({ limits, clock: new ManualClock(0) }, { keyPrefix });
    await handle(list, alice);
    await handle(list, alice);
    await refused(handle(list, alice));
    const client = new Redis(url);
    onTestFinished(() => client.disconnect());
    expect(await client.keys(`${keyPrefix}*`)).toHaveLength(3);
    await vi.waitFor(async () => expect(await client.keys(`${keyPrefix}*`)).toEqual([]), { timeout: 5000 });
    await handle(list, alice);
  });

  it('give back what is skipped, to the window it was counted in', async () => {
    const { handle, limiter } = limiting(
      { limits: [{ by: 'principal', requests: 1, windowMs: hour, skipSuccessful: true }] },
      { keyPrefix: prefix() },
    );
    for (let i = 0; i < 3; i += 1) await handle(list, alice);
    expect(await limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 0, remaining: 1 }]);
  });

  it('use a client of the caller and leave it open', async () => {
    const client = new Redis(url);
    onTestFinished(() => client.disconnect());
    const { handle, limiter } = limiting(
      { limits: [{ by: 'principal', requests: 1, windowMs: hour }] },
      { url: undefined as never, client, keyPrefix: prefix() },
    );
    await client.script('FLUSH');
    await handle(list, alice);
    await refused(handle(list, alice));
    await limiter.close();
    await limiter.close();
    expect(await client.ping()).toBe('PONG');
    expect(client.listenerCount('error')).toBe(0);
  });
});

describe('when Redis is gone', () => {
  const limits = [{ by: 'principal', requests: 5, windowMs: hour, skipFailed: true }] as const;

  it('calls fail as unavailable, at the latest after the time limit, and then at once', async () => {
    const gate = await gateTo(url);
    const clock = new ManualClock();
    const { handle, limiter, calls } = limiting({ limits, clock }, { url: gate.url, keyPrefix: prefix(), commandTimeoutMs: 150 });
    await handle(list, alice);
    gate.silence(true);
    const began = performance.now();
    await refused(handle(list, alice), 'unavailable');
    const waited = performance.now() - began;
    expect(waited).toBeGreaterThan(100);
    expect(waited).toBeLessThan(2000);
    // No further call waits: none of these could have been answered.
    for (let i = 0; i < 100; i += 1) await refused(handle(list, alice), 'unavailable');
    expect(performance.now() - began - waited).toBeLessThan(2000);
    expect(calls).toHaveLength(1);
    expect(limiter.metrics()).toMatchObject({ totalRequests: 102, allowedRequests: 1, blockedRequests: 101 });
    await expect(limiter.resetRateLimit({ principal: alice.principal })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('each process lets its share through; shared counts hold again when Redis is back', async () => {
    const gate = await gateTo(url);
    const clock = new ManualClock();
    const keyPrefix = prefix();
    const errors: Error[] = [];
    const processes = [1, 2].map(() =>
      limiting(
        { limits: [...limits, { by: 'method', requests: 1000, windowMs: hour, algorithm: 'token-bucket' }], clock },
        { url: gate.url, keyPrefix, insurance: { processes: 2 }, onError: (error) => errors.push(error) },
      ),
    );
    for (const { handle } of processes) await handle(list, alice);
    await gate.cut();
    for (const { handle, calls, limiter } of processes) {
      for (let i = 0; i < 2; i += 1) await handle(list, alice);
      expect((await refused(handle(list, alice))).data).toMatchObject({ limit: 5, remaining: 0 });
      expect(calls).toHaveLength(3);
      expect(await limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 2, remaining: 0 }]);
      await handle(list, bob);
    }
    await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0));
    await gate.mend();
    const [first] = processes;
    await vi.waitFor(
      async () => {
        await clock.advance(1000);
        // Redis has counted two of alice's calls and not those of the outage.
        expect(await first!.limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 2, remaining: 3 }]);
      },
      { timeout: 10_000, interval: 20 },
    );
    for (let i = 0; i < 3; i += 1) await first!.handle(list, alice);
    await refused(first!.handle(list, alice));
  });

  it('a call is given back where it was counted', async () => {
    const gate = await gateTo(url);
    const clock = new ManualClock();
    let fail: (() => void) | undefined;
    const made = limited(
      {
        limits,
        clock,
        store: redisLimits({ url: gate.url, keyPrefix: prefix(), insurance: { processes: 1, requests: { principal: 2 } } }),
      },
      () => new Promise((_resolve, reject) => (fail = () => reject(new Error('broken')))),
    );
    onTestFinished(() => made.limiter.close());
    const before = made.handle(list, alice);
    await vi.waitFor(() => expect(made.calls).toHaveLength(1));
    await gate.cut();
    const failBefore = fail;
    const during = made.handle(list, alice);
    await vi.waitFor(() => expect(made.calls).toHaveLength(2));
    fail?.();
    await expect(during).rejects.toThrow('broken');
    expect(await made.limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 0, remaining: 2 }]);
    failBefore?.();
    await expect(before).rejects.toThrow('broken');
    // What was counted in Redis is not given back here.
    expect(await made.limiter.getRateLimitStatus({ principal: alice.principal })).toMatchObject([{ used: 0, remaining: 2 }]);
  });

  it('a call that costs more than a share is told to come back', async () => {
    const gate = await gateTo(url);
    const { handle } = limiting(
      { limits: [{ by: 'principal', requests: 10, windowMs: hour, cost: 4 }] },
      { url: gate.url, keyPrefix: prefix(), insurance: { processes: 4 } },
    );
    await handle(list, alice);
    await gate.cut();
    expect((await refused(handle(list, alice))).data).toMatchObject({ retryAfterMs: 1000 });
  });

  it('from the start, calls are counted here too', async () => {
    const gate = await gateTo(url);
    await gate.cut();
    const { handle } = limiting({ limits }, { url: gate.url, keyPrefix: prefix(), insurance: { processes: 5 } });
    await handle(list, alice);
    await refused(handle(list, alice));
  });
});

describe('wrong options are named', () => {
  it.each<[options: unknown, option: string]>([
    [{}, 'url'],
    [{ url, client: {} }, 'url'],
    [{ url: 'http://127.0.0.1' }, 'url'],
    [{ url, commandTimeoutMs: 0 }, 'commandTimeoutMs'],
    [{ url, probeIntervalMs: 1.5 }, 'probeIntervalMs'],
    [{ url, insurance: { processes: 0 } }, 'insurance.processes'],
    [{ url, insurance: { processes: 2, requests: { principal: -1 } } }, 'insurance.requests.principal'],
    [{ url, insurance: { processes: 2, requests: { other: 1 } } }, 'insurance.requests.other'],
  ])('%j', (options, option) => {
    const make = () =>
      new RateLimitedRPC({ limits: [{ by: 'principal', requests: 1, windowMs: 1 }], store: redisLimits(options as RedisLimitsOptions) });
    expect(make).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
  });
});
