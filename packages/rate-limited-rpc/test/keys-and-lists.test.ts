import type { RpcContext } from '@mcp-blocks/core';
import { ManualClock, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { type RateLimitDimensions, RateLimitedRPC } from '../src/index.js';
import { alice, bob, call, limited, list, refused } from './harness.js';

const from = (remoteAddress: string, context: RpcContext = alice): RpcContext => ({ ...context, remoteAddress });
const hour = { requests: 1, windowMs: 3_600_000 };

describe('addresses', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1', true],
    ['192.0.2.1', '192.0.2.2', false],
    ['192.0.2.1', '::ffff:192.0.2.1', true],
    ['192.0.2.1', '::ffff:c000:201', true],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
    ['2001:db8::1', '2001:DB8:0:0:ffff:ffff:ffff:ffff', true],
    ['2001:db8::1', '2001:db8:0:1::1', false],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::', true],
    ['::1', '::2', true],
    ['::1', '2001:db8::1', false],
    ['fe80::1%eth0', 'fe80::2%eth1', true],
    ['no address', 'no address', true],
    ['not:one', 'not:other', false],
  ])('%s and %s are one caller: %s', async (one, other, same) => {
    const { handle, limiter } = limited({ limits: [{ by: 'ip', ...hour }] });
    await handle(list, from(one));
    await (same ? refused(handle(list, from(other))) : handle(list, from(other)));
    expect(await limiter.getRateLimitStatus({ remoteAddress: other })).toMatchObject([{ used: 1 }]);
    await limiter.close();
  });

  it('do not apply where the transport has none', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'ip', ...hour }] });
    await handle(list, alice);
    await handle(list, alice);
    await limiter.close();
  });
});

describe('keys', () => {
  const key = testContext({ principal: testPrincipal({ id: 'k', authentication: 'api-key' }) });
  const web = testContext({ principal: testPrincipal({ id: 'a', clientId: 'web' }) });
  const webToo = testContext({ principal: testPrincipal({ id: 'b', clientId: 'web' }) });
  it.each<[RateLimitDimensions, same: [RpcContext, RpcContext], others: RpcContext[]]>([
    ['apiKey', [key, key], [alice, alice, testContext({ principal: testPrincipal({ id: 'k2', authentication: 'api-key' }) })]],
    [
      'principal',
      [web, testContext({ principal: testPrincipal({ id: 'a', clientId: 'cli' }) })],
      [webToo, testContext({ principal: testPrincipal({ id: 'a', clientId: 'web', issuer: 'https://b.test' }) })],
    ],
    ['clientId', [web, webToo], [alice, alice, testContext({ principal: testPrincipal({ id: 'a', clientId: 'cli' }) })]],
    ['ip+clientId', [from('192.0.2.1', web), from('192.0.2.1', webToo)], [from('192.0.2.2', web), web, web, from('192.0.2.1', alice)]],
    ['principal+ip+method', [from('192.0.2.1'), from('192.0.2.1')], [from('192.0.2.2'), from('192.0.2.1', bob)]],
  ])('%s', async (by, [first, second], others) => {
    const { handle, limiter } = limited({ limits: [{ by, ...hour }] });
    await handle(list, first);
    for (const other of others) await handle(list, other);
    expect((await refused(handle(list, second))).data).toMatchObject({ by });
    await limiter.close();
  });

  it('of a combination cannot be forged by joining names', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'clientId+tool', ...hour }] });
    const as = (clientId: string) => testContext({ principal: testPrincipal({ clientId }) });
    await handle(call('c'), as('a+b'));
    await handle(call('b+c'), as('a'));
    await handle(call('c"]'), as('a","b'));
    await limiter.close();
  });
});

describe('calls in progress', () => {
  it('are bounded per key, however they end, and take no room from a call another limit refuses', async () => {
    const open: { resolve: () => void; reject: (error: Error) => void }[] = [];
    const { handle, limiter, calls } = limited(
      {
        limits: [
          { by: 'principal', concurrent: 2 },
          { by: 'principal', requests: 4, windowMs: 3_600_000 },
        ],
      },
      () => new Promise((resolve, reject) => open.push({ resolve: () => resolve({}), reject })),
    );
    const status = async () => (await limiter.getRateLimitStatus({ principal: alice.principal }))[0];
    const settled = async () => new Promise((resolve) => setImmediate(resolve));
    const first = handle(list, alice);
    const second = handle(list, alice);
    const error = await refused(handle(list, alice));
    expect(error.data).toEqual({ retryAfterMs: 1000, limit: 2, remaining: 0, by: 'principal' });
    expect(error.headers).toEqual({
      'retry-after': '1',
      ratelimit: '"principal";r=0',
      'ratelimit-policy': '"principal";q=2;qu="concurrent-requests", "principal-2";q=4;w=3600',
    });
    expect(await status()).toEqual({ limit: 'principal', concurrent: 2, used: 2, remaining: 0, resetMs: 0 });
    const other = handle(list, bob);
    await settled();
    open[0]?.reject(new Error('broken'));
    await expect(first).rejects.toThrow('broken');
    expect(await status()).toMatchObject({ used: 1 });
    const third = handle(list, alice);
    await settled();
    open[1]?.resolve();
    await second;
    const fourth = handle(list, alice);
    await settled();
    for (const { resolve } of open) resolve();
    await Promise.all([third, fourth, other]);
    // Four requests are used up; the refused ones never entered.
    for (let i = 0; i < 3; i += 1) expect((await refused(handle(list, alice))).data).toMatchObject({ limit: 4 });
    expect(await status()).toMatchObject({ used: 0 });
    expect(calls).toHaveLength(5);
    expect(limiter.metrics()).toMatchObject({ allowedRequests: 5, blockedRequests: 4 });
    await limiter.close();
  });

  it('are let go when the handler throws before it returns', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'principal', concurrent: 1 }] }, () => {
      throw new Error('at once');
    });
    for (let i = 0; i < 3; i += 1) await expect(handle(list, alice)).rejects.toThrow('at once');
    await limiter.close();
  });
});

describe('lists', () => {
  it('deny goes before allow, allow before limits, and both expire', async () => {
    const clock = new ManualClock();
    const { handle, limiter, calls } = limited({
      limits: [
        { by: 'principal', ...hour },
        { by: 'principal', concurrent: 1 },
      ],
      allowList: [{ principal: 'alice', expiresAt: clock.now() + 1000 }],
      denyList: [{ ip: '2001:db8::1', expiresAt: clock.now() + 2000 }, { tool: 'drop' }],
      clock,
    });
    for (let i = 0; i < 3; i += 1) await handle(list, alice);
    const error = await refused(handle(list, from('2001:db8::2')), 'forbidden');
    expect(error).toMatchObject({ message: 'Access denied', auditReason: 'on the deny list', data: undefined, headers: undefined });
    await refused(handle(call('drop'), alice), 'forbidden');
    await clock.advance(1000);
    await handle(list, alice);
    await refused(handle(list, alice));
    await refused(handle(list, from('2001:db8::2', bob)), 'forbidden');
    await clock.advance(1000);
    await handle(list, from('2001:db8::2', bob));
    expect(calls).toHaveLength(5);
    expect(limiter.metrics()).toMatchObject({ allowedRequests: 5, blockedRequests: 4 });
    await limiter.close();
  });

  it('change while calls go on; an entry means calls that have all it names', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'principal', ...hour }] });
    const off = limiter.deny({ principal: 'alice', issuer: 'https://a.example', method: 'tools/list' });
    const issued = (issuer: string) => testContext({ principal: testPrincipal({ id: 'alice', issuer }) });
    await refused(handle(list, issued('https://a.example')), 'forbidden');
    await handle(list, issued('https://b.example'));
    await handle(call('x'), issued('https://a.example'));
    off();
    await refused(handle(list, issued('https://a.example')), 'rate_limited');
    const end = limiter.allow({ clientId: 'batch' });
    const batch = testContext({ principal: testPrincipal({ clientId: 'batch' }) });
    await handle(list, batch);
    await handle(list, batch);
    end();
    await handle(list, batch);
    await refused(handle(list, batch));
    await limiter.close();
  });

  it('hold a bounded number of entries and let expired ones go', () => {
    const clock = new ManualClock();
    const limiter = new RateLimitedRPC({ limits: [{ by: 'principal', ...hour }], clock });
    for (let i = 0; i < 10_000; i += 1) limiter.deny({ principal: `p${i}`, expiresAt: i === 0 ? clock.now() : clock.now() + 5 });
    // The first one had expired already.
    limiter.deny({ principal: 'one more' });
    expect(() => limiter.deny({ principal: 'too many' })).toThrow(expect.objectContaining({ option: 'denyList' }));
  });
});
