import { describe, expect, it } from 'vitest';
import { compose, eraOf, principalKey, type RpcMiddleware, ServiceEventEmitter, StaticDiscovery } from '../src/index.js';
import { testContext, testPrincipal } from '../src/testing/index.js';

describe('compose', () => {
  it('puts the first middleware outermost', async () => {
    const order: string[] = [];
    const named =
      (name: string): RpcMiddleware =>
      (next) =>
      async (request, context) => {
        order.push(`${name} in`);
        const result = await next(request, context);
        order.push(`${name} out`);
        return result;
      };
    const inner = async () => {
      order.push('handler');
      return {};
    };
    const handler = compose(inner, [named('a'), named('b')]);
    await handler({ method: 'ping', params: {} }, testContext());
    expect(order).toEqual(['a in', 'b in', 'handler', 'b out', 'a out']);
  });

  it('is the handler itself without middleware', () => {
    const handler = async () => ({});
    expect(compose(handler)).toBe(handler);
  });
});

it.each([
  ['2026-07-28', 'modern'],
  ['2027-01-01', 'modern'],
  ['2025-11-25', 'legacy'],
  ['2024-11-05', 'legacy'],
] as const)('%s is %s', (version, era) => {
  expect(eraOf(version)).toBe(era);
});

it('principals of different issuers, clients and proofs have different keys, and no text can imitate another', () => {
  const principals = [
    testPrincipal({ id: 'a' }),
    testPrincipal({ id: 'a', issuer: 'https://one' }),
    testPrincipal({ id: 'a', issuer: 'https://two' }),
    testPrincipal({ id: 'a', clientId: 'app' }),
    testPrincipal({ id: 'a', authentication: 'jwt' }),
    testPrincipal({ id: '","a' }),
  ];
  expect(new Set(principals.map(principalKey)).size).toBe(principals.length);
  expect(principalKey(testPrincipal({ roles: ['x'] }))).toBe(principalKey(testPrincipal({ roles: ['y'] })));
});

describe('ServiceEventEmitter', () => {
  it('delivers to every listener, also past one that throws, until it stops', () => {
    const events = new ServiceEventEmitter();
    const seen: string[] = [];
    const stop = events.subscribe(() => {
      seen.push('first');
      throw new Error('listener bug');
    });
    events.subscribe((event) => seen.push(event.kind));
    events.publish({ kind: 'tools_list_changed' });
    stop();
    stop();
    events.publish({ kind: 'resource_updated', uri: 'file:///a' });
    expect(seen).toEqual(['first', 'tools_list_changed', 'resource_updated']);
    expect(events.listenerCount).toBe(1);
  });
});

describe('StaticDiscovery', () => {
  it.each([
    ['an empty id', [{ id: '', url: 'http://a' }], 'services.s[0].id'],
    [
      'the same id twice',
      [
        { id: 'a', url: 'http://a' },
        { id: 'a', url: 'http://b' },
      ],
      'services.s[1].id',
    ],
    ['a URL that is none', [{ id: 'a', url: 'nonsense' }], 'services.s[0].url'],
    ['a weight of zero', [{ id: 'a', url: 'http://a', weight: 0 }], 'services.s[0].weight'],
  ])('refuses %s and names it', (_what, nodes, option) => {
    expect(() => new StaticDiscovery({ s: nodes })).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
  });
});
