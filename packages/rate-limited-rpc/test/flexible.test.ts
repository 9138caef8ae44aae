import { randomUUID } from 'node:crypto';
import type { Principal } from '@mcp-blocks/core';
import pg from 'pg';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterPostgres } from 'rate-limiter-flexible';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type FlexibleLimitsOptions, flexibleLimits } from '../src/flexible.js';
import { RateLimitedRPC } from '../src/index.js';
import { alice, bob, call, limited, refused } from './harness.js';

const hour = 3_600_000;

/** Two limiters in one PostgreSQL, as two processes would have them. */
async function inPostgres(): Promise<() => FlexibleLimitsOptions['limiter']> {
  const pool = new pg.Pool({ connectionString: process.env['MCP_BLOCKS_POSTGRES_URL'] as string });
  const tableName = `limits_${randomUUID().replaceAll('-', '')}`;
  await new Promise<void>((resolve, reject) => {
    const limiter = new RateLimiterPostgres({ storeClient: pool, tableName, points: 1, duration: 1 }, (error?: Error) =>
      error === undefined || error === null ? resolve() : reject(error),
    );
    void limiter;
  });
  onTestFinished(async () => {
    await pool.query(`DROP TABLE ${tableName}`);
    await pool.end();
  });
  return () => (limit) =>
    new RateLimiterPostgres({ ...limit, storeClient: pool, tableName, tableCreated: true, clearExpiredByTimeout: false });
}

const inMemory = async (): Promise<() => FlexibleLimitsOptions['limiter']> => {
  const shared = new Map<string, RateLimiterAbstract>();
  return () => (limit) => {
    const limiter = shared.get(limit.keyPrefix) ?? new RateLimiterMemory(limit);
    shared.set(limit.keyPrefix, limiter);
    return limiter;
  };
};

describe.each([
  ['memory', inMemory],
  ['PostgreSQL', inPostgres],
])('limits counted by rate-limiter-flexible in %s', (_name, place) => {
  it('are shared, told apart by key, and told of', async () => {
    const make = await place();
    const limits = [{ name: 'each', by: 'principal' as const, requests: 3, windowMs: hour }];
    const [one, two] = [make(), make()].map((limiter) => limited({ limits, store: flexibleLimits({ limiter }) }));
    for (const { handle } of [one!, two!, one!]) await handle(call('a'), alice);
    const error = await refused(two!.handle(call('a'), alice));
    expect(error.data).toMatchObject({ limit: 3, remaining: 0, by: 'principal' });
    expect((error.data as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(hour - 60_000);
    await one!.handle(call('a'), bob);
    expect(await one!.limiter.getRateLimitStatus({ principal: alice.principal as Principal })).toEqual([
      expect.objectContaining({ remaining: 0 }),
    ]);
    await one!.limiter.resetRateLimit({ principal: alice.principal as Principal });
    await two!.handle(call('a'), alice);
    for (const { limiter } of [one!, two!]) await limiter.close();
  });

  it('take nothing from a call that another of them refuses, nor count what is refused', async () => {
    const make = await place();
    const limits = [
      { name: 'wide', by: 'principal' as const, requests: 10, windowMs: hour },
      { name: 'narrow', by: 'tool' as const, requests: 2, windowMs: hour },
    ];
    const { limiter, handle } = limited({ limits, store: flexibleLimits({ limiter: make() }) });
    for (let i = 0; i < 2; i += 1) await handle(call('a'), alice);
    for (let i = 0; i < 5; i += 1) await refused(handle(call('a'), alice));
    expect(await limiter.getRateLimitStatus({ principal: alice.principal as Principal, limit: 'wide' })).toEqual([
      expect.objectContaining({ remaining: 8 }),
    ]);
    await limiter.close();
  });

  it('never let more through than there is, however many ask at once', async () => {
    const make = await place();
    const limits = [{ name: 'each', by: 'principal' as const, requests: 5, windowMs: hour }];
    const servers = [make(), make()].map((limiter) => limited({ limits, store: flexibleLimits({ limiter }) }));
    const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, index) => servers[index % 2]!.handle(call('a'), alice)));
    const passed = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(passed).toBeLessThanOrEqual(5);
    expect(passed).toBeGreaterThan(0);
    for (const { limiter } of servers) await limiter.close();
  });
});

it('fails with unavailable when the library does', async () => {
  class Broken extends RateLimiterMemory {
    override async get(): Promise<never> {
      throw new Error('no database');
    }
  }
  const { limiter, handle } = limited({
    limits: [{ by: 'principal', requests: 1, windowMs: hour }],
    store: flexibleLimits({ limiter: (limit) => new Broken(limit) }),
  });
  await refused(handle(call('a'), alice), 'unavailable');
  await limiter.close();
});

it('names what it cannot do', () => {
  const limits = [{ by: 'principal' as const, requests: 1, windowMs: hour, algorithm: 'token-bucket' as const }];
  const store = flexibleLimits({ limiter: (limit) => new RateLimiterMemory(limit) });
  expect(() => new RateLimitedRPC({ limits, store })).toThrow(/fixed-window.*token-bucket/);
  expect(() => flexibleLimits({} as never)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'limiter' }));
});
