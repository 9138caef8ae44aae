import { randomUUID } from 'node:crypto';
import { ConfigurationError, systemClock } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import type { RateLimitedRPC, SlotRule } from '../src/index.js';
import { RedisCommands } from '../src/redis/redis-commands.js';
import { RedisSlots } from '../src/redis/redis-slots.js';
import { type RedisLimitsOptions, redisLimits } from '../src/redis.js';
import { gateTo } from './gate.js';
import { alice, bob, call, limited, refused } from './harness.js';

const url = process.env.MCP_BLOCKS_REDIS_URL as string;
const limiters: RateLimitedRPC[] = [];
afterEach(async () => {
  for (const limiter of limiters.splice(0)) await limiter.close();
});

/** A process: calls of it last until they are ended. */
function process_(keyPrefix: string, options: Partial<RedisLimitsOptions> = {}, concurrent = 3) {
  const running: (() => void)[] = [];
  const made = limited(
    { limits: [{ by: 'principal', concurrent }], store: redisLimits({ url, keyPrefix, ...options } as RedisLimitsOptions) },
    () => new Promise((resolve) => running.push(() => resolve({}))),
  );
  limiters.push(made.limiter);
  return { ...made, running };
}

const until = async (holds: () => boolean | Promise<boolean>) => {
  while (!(await holds())) await settle();
};

describe('calls in progress', () => {
  it('are counted together by all processes on one Redis', async () => {
    const keyPrefix = `test-${randomUUID()}:`;
    const [one, other] = [process_(keyPrefix), process_(keyPrefix)];
    const calls = [one, other, one].map(({ handle }) => handle(call('x'), alice));
    await until(() => one.running.length + other.running.length === 3);
    expect(await refused(other.handle(call('x'), alice))).toMatchObject({
      code: 'rate_limited',
      data: { limit: 3, remaining: 0, retryAfterMs: 1000 },
    });
    const bobs = other.handle(call('x'), bob);
    await until(() => other.running.length === 2);
    one.running[0]?.();
    await calls[0];
    await until(async () => (await other.limiter.getRateLimitStatus({ principal: alice.principal }))[0]?.used === 2);
    const next = other.handle(call('x'), alice);
    await until(() => other.running.length === 3);
    for (const end of [...one.running, ...other.running]) end();
    await Promise.all([...calls, bobs, next]);
  });

  it('never exceed the limit, whoever comes first', async () => {
    const keyPrefix = `test-${randomUUID()}:`;
    const fleet = [process_(keyPrefix), process_(keyPrefix), process_(keyPrefix), process_(keyPrefix)];
    const calls = Array.from({ length: 80 }, (_, n) => (fleet[n % 4] as (typeof fleet)[number]).handle(call('x'), alice));
    const outcomes = calls.map((each) =>
      each.then(
        () => 'passed',
        (error: { code: string }) => error.code,
      ),
    );
    const inProgress = () => fleet.reduce((sum, { running }) => sum + running.length, 0);
    await until(() => inProgress() === 3);
    for (const { running } of fleet) for (const end of running) end();
    const counts = Object.groupBy(await Promise.all(outcomes), (outcome) => outcome);
    expect(counts.rate_limited?.length).toBe(80 - (counts.passed?.length ?? 0));
    expect(counts.passed?.length).toBe(3);
  });

  it('stand in the status', async () => {
    const { handle, limiter, running } = process_(`test-${randomUUID()}:`);
    const held = handle(call('x'), alice);
    await until(() => running.length === 1);
    const status = await limiter.getRateLimitStatus({ principal: alice.principal });
    expect(status).toEqual([{ limit: 'principal', concurrent: 3, used: 1, remaining: 2, resetMs: 0 }]);
    running[0]?.();
    await held;
    await until(async () => (await limiter.getRateLimitStatus({ principal: alice.principal }))[0]?.used === 0);
  });

  it('are counted by each process, its share of them, while Redis is gone and insured', async () => {
    const gate = await gateTo(url);
    const insured = process_(`test-${randomUUID()}:`, { url: gate.url, insurance: { processes: 2 }, commandTimeoutMs: 100 }, 4);
    await gate.cut();
    const calls = [insured.handle(call('x'), alice), insured.handle(call('x'), alice)];
    await until(() => insured.running.length === 2);
    expect(await refused(insured.handle(call('x'), alice))).toMatchObject({ code: 'rate_limited' });
    for (const end of insured.running) end();
    await Promise.all(calls);
  });

  it('fail while Redis is gone and there is no insurance', async () => {
    const gate = await gateTo(url);
    const { handle } = process_(`test-${randomUUID()}:`, { url: gate.url, commandTimeoutMs: 100 });
    await gate.cut();
    await refused(handle(call('x'), alice), 'unavailable');
  });
});

describe('a lease', () => {
  const RULE: SlotRule = { name: 'calls', concurrent: 1 };
  const claims = [{ rule: RULE, key: 'k' }];

  /** Two processes whose clocks, and Redis', are in our hands. */
  function pair() {
    const client = new Redis(url);
    onTestFinished(() => client.disconnect());
    const time = new ManualClock();
    const keyPrefix = `test-${randomUUID()}:`;
    const make = (clock: ManualClock) => {
      const commands = new RedisCommands({
        client,
        keyPrefix,
        commandTimeoutMs: 10_000,
        clock: systemClock,
        now: () => time.now(),
        end: () => {},
      });
      return new RedisSlots(commands, { leaseMs: 30_000, clock });
    };
    return { client, keyPrefix, time, alive: make(time), make };
  }

  it('ends with its process: the slot is free after it, and not before', async () => {
    const { time, alive, make } = pair();
    // Its clock stands still: it renews nothing, like a process that was killed.
    const dead = make(new ManualClock());
    expect(await dead.take(claims)).toMatchObject({ taken: true });
    await time.advance(29_999);
    expect(await alive.take(claims)).toEqual({ taken: false, full: RULE });
    await time.advance(1);
    expect(await alive.take(claims)).toMatchObject({ taken: true });
    alive.close();
  });

  it('is renewed as long as the call runs, and given back when it ends', async () => {
    const { client, keyPrefix, time, alive, make } = pair();
    const other = make(new ManualClock());
    const outcome = await alive.take(claims);
    for (let minute = 0; minute < 20; minute += 1) {
      await time.advance(10_000);
      // The renewal is on its way on the same connection, before this.
      expect(await other.take(claims)).toEqual({ taken: false, full: RULE });
    }
    if (outcome.taken) outcome.leave();
    expect(await other.used(claims)).toEqual([0]);
    await time.advance(60_000);
    expect(time.pendingTimers).toBe(0);
    expect(await client.exists(`${keyPrefix}calls:concurrent:k`)).toBe(0);
  });

  it('takes all slots of a call or none', async () => {
    const { alive } = pair();
    const wide = { rule: { name: 'wide', concurrent: 5 }, key: 'k' };
    await alive.take(claims);
    expect(await alive.take([wide, ...claims])).toEqual({ taken: false, full: RULE });
    expect(await alive.used([wide, ...claims])).toEqual([0, 1]);
    alive.close();
  });
});

it.each([999, 3_600_001, 1.5])('a lease of %d ms is refused', (leaseMs) => {
  expect(() => redisLimits({ url, leaseMs })).toThrowError(ConfigurationError);
  expect(() => redisLimits({ url, leaseMs })).toThrowError(/^leaseMs: /);
});
