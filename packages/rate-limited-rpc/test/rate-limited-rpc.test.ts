import { anonymous, MemoryAuditSink, type RpcContext, RpcError, type RpcRequest, toWireError } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RateLimitedRPC, type RateLimitedRpcOptions } from '../src/index.js';
import { alice, bob, call, limited, list, refused } from './harness.js';

// The library under the counters reads the machine's clock and takes no other, so the tests own that one.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: 1_700_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a limit', () => {
  it('lets exactly its number of requests through per window, then tells when to come back', async () => {
    const { handle, calls } = limited({ limits: [{ by: 'principal', requests: 3, windowMs: 60_000 }] });
    for (let i = 0; i < 3; i += 1) await handle(list, alice);
    vi.advanceTimersByTime(20_500);
    const error = await refused(handle(list, alice));
    expect(error.data).toEqual({ retryAfterMs: 39_500, limit: 3, remaining: 0, resetMs: 39_500, by: 'principal' });
    expect(error.headers).toEqual({ 'retry-after': '40', ratelimit: '"principal";r=0;t=40', 'ratelimit-policy': '"principal";q=3;w=60' });
    expect(toWireError(error)).toMatchObject({ code: 429, httpStatus: 429, data: { reason: 'rate_limited' } });
    expect(calls).toHaveLength(3);
    vi.advanceTimersByTime(39_499);
    await refused(handle(list, alice));
    vi.advanceTimersByTime(1);
    await expect(handle(list, alice)).resolves.toEqual({ ok: true });
  });

  it('never tells to come back in zero seconds', async () => {
    const { handle } = limited({ limits: [{ by: 'principal', requests: 1, windowMs: 10 }] });
    await handle(list, alice);
    expect((await refused(handle(list, alice))).headers).toMatchObject({
      'retry-after': '1',
      ratelimit: '"principal";r=0;t=1',
      'ratelimit-policy': '"principal";q=1;w=1',
    });
  });

  it('opens a new window at its end even when the timer that clears the old one is late', async () => {
    const { handle } = limited({ limits: [{ by: 'principal', requests: 1, windowMs: 1000 }] });
    await handle(list, alice);
    vi.setSystemTime(Date.now() + 1000);
    await handle(list, alice);
    await refused(handle(list, alice));
  });

  const context = (overrides: Partial<RpcContext>) => testContext(overrides);
  it.each<[by: RateLimitedRpcOptions['limits'][number]['by'], same: [RpcRequest, RpcContext][], other: [RpcRequest, RpcContext][]]>([
    [
      'principal',
      [
        [list, alice],
        [call('a'), alice],
      ],
      [[list, bob]],
    ],
    [
      'tool',
      [
        [call('a'), alice],
        [call('a'), bob],
      ],
      [
        [call('b'), alice],
        [list, alice],
        [list, alice],
      ],
    ],
    [
      'principal+tool',
      [
        [call('a'), alice],
        [call('a'), alice],
      ],
      [
        [call('a'), bob],
        [call('b'), alice],
        [list, alice],
        [list, alice],
      ],
    ],
    [
      'method',
      [
        [list, alice],
        [list, bob],
      ],
      [[call('a'), alice]],
    ],
    [
      (_request, { remoteAddress }) => remoteAddress,
      [
        [list, context({ remoteAddress: '192.0.2.1' })],
        [call('a'), context({ remoteAddress: '192.0.2.1' })],
      ],
      [
        [list, context({ remoteAddress: '192.0.2.2' })],
        [list, context({})],
        [list, context({})],
      ],
    ],
    [
      'principal',
      [
        [list, context({ principal: anonymous })],
        [list, context({ principal: anonymous, remoteAddress: '192.0.2.9' })],
      ],
      [],
    ],
    [
      'principal',
      [
        [list, alice],
        [list, alice],
      ],
      [
        [list, context({ principal: testPrincipal({ id: 'alice', issuer: 'https://other.example' }) })],
        [list, context({ principal: testPrincipal({ id: 'alice', authentication: 'api-key' }) })],
      ],
    ],
  ])('by %s counts together what belongs together and nothing else (%#)', async (by, [first, second], others) => {
    const { handle } = limited({ limits: [{ by, requests: 1, windowMs: 1000 }] });
    await handle(...first!);
    for (const other of others) await handle(...other);
    await refused(handle(...second!));
  });

  it('applies to the methods and tools it lists, and to no other', async () => {
    const { handle } = limited({
      limits: [
        { by: 'principal', requests: 1, windowMs: 1000, methods: ['resources/read', 'ping'] },
        { by: 'principal', requests: 1, windowMs: 1000, tools: ['slow'] },
      ],
    });
    const read: RpcRequest = { method: 'resources/read', params: { uri: 'x://y' } };
    await handle(read, alice);
    await handle(call('slow'), alice);
    for (let i = 0; i < 3; i += 1) {
      await handle(list, alice);
      await handle(call('fast'), alice);
    }
    await refused(handle(read, alice));
    await refused(handle(call('slow'), alice));
    await handle({ method: 'ping', params: {} }, bob);
    await refused(handle({ method: 'ping', params: {} }, bob));
  });

  it('leaves the calls that keep a connection alone, and those declared exempt', async () => {
    const { handle, limiter } = limited({
      limits: [{ by: 'principal', requests: 1, windowMs: 1000 }],
      exempt: (_request, { principal }) => principal.roles.includes('monitor'),
    });
    await handle(list, alice);
    for (const method of ['ping', 'server/discover', 'initialize']) {
      await handle({ method, params: {} }, alice);
      await handle({ method, params: {} }, alice);
    }
    const monitor = testContext({ principal: testPrincipal({ id: 'm', roles: ['monitor'] }) });
    for (let i = 0; i < 3; i += 1) await handle(list, monitor);
    await refused(handle(list, alice));
    expect(limiter.metrics()).toEqual({ totalRequests: 11, allowedRequests: 10, blockedRequests: 1, uniqueClients: 2 });
  });
});

describe('several limits', () => {
  const limits = [
    { by: 'principal', requests: 10, windowMs: 60_000 },
    { by: 'principal+tool', requests: 2, windowMs: 1000, name: 'burst' },
  ] as const;

  it('all hold, and a call refused by one is counted by none', async () => {
    const { handle, limiter } = limited({ limits });
    for (let i = 0; i < 2; i += 1) await handle(call('a'), alice);
    for (let i = 0; i < 20; i += 1) {
      const error = await refused(handle(call('a'), alice));
      expect(error.data).toMatchObject({ limit: 2, by: 'principal+tool' });
      expect(error.headers).toMatchObject({
        ratelimit: '"burst";r=0;t=1',
        'ratelimit-policy': '"principal";q=10;w=60, "burst";q=2;w=1',
      });
    }
    expect(await limiter.getRateLimitStatus({ principal: alice.principal, tool: 'a' })).toEqual([
      { limit: 'principal', requests: 10, windowMs: 60_000, used: 2, remaining: 8, resetMs: 60_000 },
      { limit: 'burst', requests: 2, windowMs: 1000, used: 2, remaining: 0, resetMs: 1000 },
    ]);
  });

  it('tell the longest wait when several refuse', async () => {
    const { handle } = limited({
      limits: [
        { by: 'principal', requests: 1, windowMs: 1000 },
        { by: 'method', requests: 1, windowMs: 5000 },
      ],
    });
    await handle(list, alice);
    expect((await refused(handle(list, alice))).data).toMatchObject({ retryAfterMs: 5000, by: 'method' });
  });

  it('count calls exactly that arrive at once', async () => {
    const { handle, limiter } = limited({
      limits: [
        { by: 'method', requests: 5, windowMs: 1000 },
        { by: 'tool', requests: 3, windowMs: 1000 },
      ],
    });
    // Refused calls for `a` must not crowd out the calls for `b`, not even for a moment.
    const names = [...Array(50).fill('a'), 'b', 'b'] as string[];
    const outcomes = await Promise.allSettled(names.map((name) => handle(call(name), alice)));
    const passed = names.filter((_, index) => outcomes[index]?.status === 'fulfilled');
    expect(passed).toEqual(['a', 'a', 'a', 'b', 'b']);
    expect(limiter.metrics()).toMatchObject({ allowedRequests: 5, blockedRequests: 47 });
  });

  it('let through what a plain model of fixed windows lets through', async () => {
    const step = fc.oneof(
      fc.record({ waitMs: fc.integer({ min: 1, max: 700 }) }),
      fc.record({ who: fc.constantFrom('x', 'y'), tool: fc.constantFrom('a', 'b') }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { handle, limiter } = limited({
          limits: [
            { by: 'principal', requests: 4, windowMs: 1000 },
            { by: 'tool', requests: 3, windowMs: 400 },
          ],
        });
        const windows = new Map<string, { end: number; used: number }>();
        for (const current of steps) {
          if ('waitMs' in current) {
            vi.advanceTimersByTime(current.waitMs);
            continue;
          }
          const applied = [
            { key: `p${current.who}`, max: 4, windowMs: 1000 },
            { key: `t${current.tool}`, max: 3, windowMs: 400 },
          ].map(({ key, max, windowMs }) => {
            const open = windows.get(key);
            const window = open && open.end > Date.now() ? open : { end: Date.now() + windowMs, used: 0 };
            return { key, max, window };
          });
          const expected = applied.every(({ max, window }) => window.used < max);
          if (expected) for (const { key, window } of applied) windows.set(key, { ...window, used: window.used + 1 });
          const passed = await handle(call(current.tool), testContext({ principal: testPrincipal({ id: current.who }) })).then(
            () => true,
            () => false,
          );
          expect(passed).toBe(expected);
        }
        await limiter.close();
        expect(vi.getTimerCount()).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the owner', () => {
  it('sees and resets what a subject has used', async () => {
    const { handle, limiter } = limited({
      limits: [
        { by: 'principal', requests: 1, windowMs: 1000 },
        { by: (_request, { remoteAddress }) => remoteAddress, requests: 5, windowMs: 1000 },
      ],
    });
    await handle(list, { ...alice, remoteAddress: '192.0.2.1' });
    expect(await limiter.getRateLimitStatus({ key: '192.0.2.1' })).toEqual([
      { limit: 'custom', requests: 5, windowMs: 1000, used: 1, remaining: 4, resetMs: 1000 },
    ]);
    expect(await limiter.getRateLimitStatus({ principal: bob.principal })).toMatchObject([{ limit: 'principal', used: 0, resetMs: 0 }]);
    expect(await limiter.getRateLimitStatus({ principal: alice.principal, limit: 'custom' })).toEqual([]);
    expect(await limiter.resetRateLimit({ principal: alice.principal })).toBe(1);
    expect(await limiter.resetRateLimit({ principal: alice.principal })).toBe(0);
    await handle(list, alice);
  });

  it('finds every refusal in the audit trail, without what the caller may not choose', async () => {
    const audit = new MemoryAuditSink();
    const { handle } = limited({ limits: [{ by: 'principal', requests: 1, windowMs: 1000 }], audit });
    await handle(list, alice);
    await refused(
      handle(call('x'.repeat(10_000)), {
        ...alice,
        remoteAddress: '192.0.2.1',
        trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      }),
    );
    expect(audit.events).toEqual([
      {
        type: 'rate.limited',
        time: Date.now(),
        outcome: 'denied',
        actor: 'alice',
        target: 'x'.repeat(256),
        reason: "limit 'principal': 1 requests per 1000 ms",
        transport: 'memory',
        remoteAddress: '192.0.2.1',
        traceId: '0af7651916cd43dd8448eb211c80319c',
      },
    ]);
  });

  it('still refuses when the audit sink is full, and says so in the cause', async () => {
    const full = new RpcError('unavailable', 'full');
    const audit = {
      record: () => {
        throw full;
      },
      flush: async () => {},
      close: async () => {},
    };
    const { handle } = limited({ limits: [{ by: 'principal', requests: 1, windowMs: 1000 }], audit });
    await handle(list, alice);
    expect((await refused(handle(list, alice))).cause).toBe(full);
  });

  it('bounds memory: keys beyond maxKeys share a counter until windows end', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'tool', requests: 2, windowMs: 1000 }], maxKeys: 3 });
    for (const name of ['a', 'b', 'c']) await handle(call(name), alice);
    await handle(call('d'), alice);
    await handle(call('e'), alice);
    await refused(handle(call('f'), alice));
    await handle(call('a'), alice);
    vi.advanceTimersByTime(1000);
    await handle(call('f'), alice);
    await handle(call('f'), alice);
    await handle(call('g'), alice);
    expect(limiter.metrics().uniqueClients).toBe(1);
    vi.advanceTimersByTime(1000);
    expect(limiter.metrics().uniqueClients).toBe(0);
  });

  it('counts unique clients up to maxKeys', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'method', requests: 100, windowMs: 1000 }], maxKeys: 5 });
    for (let i = 0; i < 9; i += 1) await handle(list, testContext({ principal: testPrincipal({ id: `u${i}` }) }));
    expect(limiter.metrics().uniqueClients).toBe(5);
  });

  it('needs no timers, may be closed twice, and lets nothing pass after it', async () => {
    const { handle, limiter } = limited({ limits: [{ by: 'principal', requests: 5, windowMs: 60_000 }] });
    await handle(list, alice);
    await handle(list, bob);
    expect(vi.getTimerCount()).toBe(0);
    await Promise.all([limiter.close(), limiter.close()]);
    await expect(handle(list, alice)).rejects.toMatchObject({ code: 'internal_error' });
  });

  it('lets a failing key function fail the call', async () => {
    const broken = () => {
      throw new TypeError('bug');
    };
    const { handle, calls } = limited({ limits: [{ by: broken, requests: 5, windowMs: 1000 }] });
    await expect(handle(list, alice)).rejects.toThrow(TypeError);
    expect(calls).toEqual([]);
  });
});

describe('wrong options are named', () => {
  const ok = { by: 'principal', requests: 1, windowMs: 1000 } as const;
  it.each<[options: unknown, option: string, message: RegExp]>([
    [undefined, 'options', /undefined/],
    [{ limits: [] }, 'limits', /at least one/],
    [{ limits: [{ ...ok, requests: 0 }] }, 'limits[0].requests', /got 0/],
    [{ limits: [ok, { ...ok, requests: 1.5 }] }, 'limits[1].requests', /got 1\.5/],
    [{ limits: [{ ...ok, windowMs: 2 ** 31 }] }, 'limits[0].windowMs', /got 2147483648/],
    [{ limits: [{ ...ok, by: 'address' }] }, 'limits[0].by', /'principal'.*got "address"/],
    [{ limits: [{ ...ok, name: 'a"b' }] }, 'limits[0].name', /letters/],
    [{ limits: [{ ...ok, methods: [] }] }, 'limits[0].methods', /at least one/],
    [
      {
        limits: [
          { ...ok, name: 'x' },
          { ...ok, name: 'x' },
        ],
      },
      'limits[1].name',
      /unique/,
    ],
    [{ limits: [{ ...ok, tools: ['a'], methods: ['tools/list'] }] }, 'limits[0].methods', /tools\/call/],
    [{ limits: [{ ...ok, by: 'tool', methods: ['tools/list'] }] }, 'limits[0].methods', /tools\/call/],
    [{ limits: [{ ...ok, by: 'principal+principal' }] }, 'limits[0].by', /'principal'/],
    [{ limits: [{ ...ok, by: 'principal+tool+ip+method' }] }, 'limits[0].by', /one to three/],
    [{ limits: [{ ...ok, by: 'method+tool', methods: ['tools/list'] }] }, 'limits[0].methods', /tools\/call/],
    [{ limits: [{ ...ok, window: 5 }] }, 'limits[0]', /window/],
    [{ limits: [{ ...ok, burst: 5 }] }, 'limits[0].burst', /token-bucket/],
    [{ limits: [{ ...ok, algorithm: 'leaky' }] }, 'limits[0].algorithm', /'token-bucket', got "leaky"/],
    [{ limits: [{ ...ok, algorithm: 'token-bucket', windowMs: 2 ** 30, burst: 2 ** 30 }] }, 'limits[0].burst', /2\^53/],
    [{ limits: [{ ...ok, cost: 0 }] }, 'limits[0].cost', />=1.*got 0/],
    [{ limits: [{ ...ok, cost: 2 }] }, 'limits[0].cost', /at most 1.*got 2/],
    [{ limits: [{ ...ok, skipFailed: true, skipSuccessful: true }] }, 'limits[0].skipFailed', /nothing/],
    [{ limits: [{ ...ok, skipFailed: true, algorithm: 'token-bucket' }] }, 'limits[0].skipFailed', /window/],
    [{ limits: [{ by: 'principal' }] }, 'limits[0].requests', /'concurrent'/],
    [{ limits: [{ by: 'principal', requests: 1 }] }, 'limits[0].windowMs', /beside/],
    [{ limits: [{ ...ok, concurrent: 1 }] }, 'limits[0].requests', /in progress/],
    [{ limits: [{ by: 'principal', concurrent: 0 }] }, 'limits[0].concurrent', /got 0/],
    [{ limits: [ok], denyList: [{}] }, 'denyList[0]', /at least one/],
    [{ limits: [ok], denyList: ['eve'] }, 'denyList[0]', /got "eve"/],
    [{ limits: [ok], allowList: [{ user: 'eve' }] }, 'allowList[0].user', /principal/],
    [{ limits: [ok], allowList: [{ ip: '' }] }, 'allowList[0].ip', /text/],
    [{ limits: [ok], allowList: [{ ip: '::1', expiresAt: 'soon' }] }, 'allowList[0].expiresAt', /got "soon"/],
    [{ limits: [ok], store: {} }, 'store', /LimitStore/],
    [{ limits: [ok], clock: {} }, 'clock', /Clock/],
    [{ limits: [ok], exempt: ['ping'] }, 'exempt', /function/],
    [{ limits: [ok], audit: {} }, 'audit', /AuditSink/],
    [{ limits: [ok], maxKeys: 0 }, 'maxKeys', /got 0/],
  ])('%j', (options, option, message) => {
    expect(() => new RateLimitedRPC(options as RateLimitedRpcOptions)).toThrow(
      expect.objectContaining({ name: 'ConfigurationError', option, message: expect.stringMatching(message) }),
    );
  });
});
