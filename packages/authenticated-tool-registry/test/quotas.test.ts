import { MemoryStateStore, principalKey, RpcError } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ToolError, type ToolReturn } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

const START = Date.parse('2026-01-31T22:59:00Z');

function metered(quota: object, handler: () => ToolReturn<undefined> | Promise<ToolReturn<undefined>> = () => 'ok') {
  const clock = new ManualClock(START);
  const quotaStore = new MemoryStateStore({ clock });
  const setup = setUp({ clock, quotaStore });
  setup.registry.tool('t', { quota, input: z.object({ n: z.number().optional() }) }, handler);
  const call = (who = 'alice', args = {}) => setup.ask('tools/call', { name: 't', arguments: args }, as({ id: who }));
  return { ...setup, clock, quotaStore, call };
}

describe('a quota', () => {
  it('is for a principal, however many clients it has registered, and not for others of its name', async () => {
    const { ask } = metered({ day: 1 });
    const call = (more: object) => ask('tools/call', { name: 't' }, as({ id: 'alice', ...more }));
    await call({ issuer: 'https://a.test', clientId: 'one' });
    expect((await refusal(call({ issuer: 'https://a.test', clientId: 'two' }))).code).toBe('rate_limited');
    await call({ issuer: 'https://b.test', clientId: 'one' });
  });

  it.each<[string, number, number]>([
    ['hour', 60_000, 60],
    ['day', 61 * 60_000, 61 * 60],
    ['month', 61 * 60_000, 61 * 60],
  ])('is for each calendar %s in UTC', async (period, leftMs, retryAfter) => {
    const { call, clock, audit } = metered({ [period]: 2 });
    await call();
    await call();
    const { code, error } = await refusal(call());
    expect([code, error.data, error.headers]).toEqual([
      'rate_limited',
      { reason: 'quota_exceeded', retryAfterMs: leftMs, limit: 2, period },
      { 'retry-after': String(retryAfter) },
    ]);
    expect(audit.events.at(-1)).toMatchObject({
      type: 'rate.limited',
      outcome: 'denied',
      target: 't',
      reason: `quota of 2 per ${period} used up`,
    });
    await clock.advance(leftMs - 1);
    expect((await refusal(call())).code).toBe('rate_limited');
    await clock.advance(1);
    await call();
  });

  it('is for each principal and each tool', async () => {
    const { call, registry, ask } = metered({ day: 1 });
    registry.tool('u', { quota: { day: 1 } }, () => 'ok');
    await call('alice');
    await call('bob');
    await ask('tools/call', { name: 'u' }, as({ id: 'alice' }));
    expect((await refusal(call('alice'))).code).toBe('rate_limited');
  });

  it('of several periods is the narrowest, and a refusal costs nothing', async () => {
    const { call, clock } = metered({ hour: 1, day: 2 });
    await call();
    for (let again = 0; again < 5; again += 1) await refusal(call());
    await clock.advance(60_000);
    await call();
    await clock.advance(30 * 60_000);
    expect((await refusal(call())).error.data).toMatchObject({ period: 'hour' });
  });

  it.each<[string, () => ToolReturn<undefined> | Promise<never>, object]>([
    ['a ToolError', () => Promise.reject(new ToolError('sold out')), {}],
    ['an RpcError', () => Promise.reject(new RpcError('unavailable', 'later')), {}],
    ['another error', () => Promise.reject(new Error('bug')), {}],
    ['an error as result', () => ({ isError: true, content: [] }), {}],
    ['a request for input', () => ({ resultType: 'input_required', requestState: 's' }), {}],
    ['arguments that are refused', () => 'ok', { n: 'x' }],
  ])('is not charged for %s', async (_name, handler, args) => {
    const { call, quotaStore } = metered({ day: 1 }, handler);
    for (let again = 0; again < 3; again += 1) {
      const ended = await call('alice', args).catch((error: RpcError) => error.code);
      expect(ended).not.toBe('rate_limited');
    }
    expect(
      (await quotaStore.get(JSON.stringify(['quota', 't', principalKey(testPrincipal()), 'day', Date.parse('2026-01-31')]))) ?? 0,
    ).toBe(0);
  });

  it('is charged when a call that its caller gave up succeeds all the same', async () => {
    let finish = () => {};
    const { call, ask } = metered({ day: 1 }, () => new Promise<string>((resolve) => (finish = () => resolve('ok'))));
    const controller = new AbortController();
    const given = refusal(ask('tools/call', { name: 't', arguments: {} }, testContext({ signal: controller.signal })));
    await settle();
    controller.abort();
    expect((await given).code).toBe('cancelled');
    finish();
    await settle();
    expect((await refusal(call())).code).toBe('rate_limited');
  });

  it('is never overspent by calls at once, whatever becomes of them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(fc.boolean(), { maxLength: 15 }), async (limit, fates) => {
        let running = 0;
        let succeeded = 0;
        const ends: (() => void)[] = [];
        const { call } = metered({ day: limit }, async () => {
          running += 1;
          expect(running + succeeded).toBeLessThanOrEqual(limit);
          const fate = fates[ends.length] ?? true;
          await new Promise<void>((resolve) => ends.push(resolve));
          running -= 1;
          if (!fate) throw new ToolError('no');
          succeeded += 1;
          return 'ok';
        });
        const calls = fates.map(() => call().catch(() => undefined));
        for (let turn = 0; turn <= fates.length; turn += 1) {
          await settle();
          for (const end of ends) end();
        }
        await Promise.all(calls);
        expect(succeeded).toBeLessThanOrEqual(limit);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses calls while its store is out of reach, and reports what it could not give back', async () => {
    const { call, quotaStore, errors } = metered({ day: 5 }, async () => {
      await quotaStore.close();
      throw new ToolError('no');
    });
    await call();
    expect(errors.map((error) => error.message)).toEqual(['The state store is closed']);
    expect((await refusal(call())).code).toBe('internal_error');
  });

  it.each<[string, object, string]>([
    ['of none', {}, "tool 'u'.quota"],
    ['of nothing', { day: 0 }, "tool 'u'.quota.day"],
    ['of half a call', { month: 1.5 }, "tool 'u'.quota.month"],
    ['for another period', { week: 1 }, "tool 'u'.quota.week"],
  ])('%s is refused at registration', (_name, quota, option) => {
    expect(() => metered({ day: 1 }).registry.tool('u', { quota }, () => 'x')).toThrow(expect.objectContaining({ option }));
  });

  it('needs a store', () => {
    expect(() => setUp().registry.tool('u', { quota: { day: 1 } }, () => 'x')).toThrow(
      expect.objectContaining({ option: "tool 'u'.quota" }),
    );
  });
});
