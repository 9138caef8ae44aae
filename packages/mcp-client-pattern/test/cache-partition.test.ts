import type { JsonObject } from '@mcp-blocks/core';
import { META, RpcError } from '@mcp-blocks/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CacheStore } from '../src/index.js';
import { ResponseCache } from '../src/response-cache.js';
import { benches, metaOf, settle, watch } from './support.js';

const start = benches();

/** Serves each caller the name in their token; `public` resources are the same for all. */
function personal(made: ReturnType<ReturnType<typeof benches>>) {
  const { service, webSocket } = made;
  Object.assign(service, {
    handler: async ({ method, params }: { method: string; params: JsonObject }) => {
      service.received.push({ method, params });
      if (service.next !== undefined) throw service.next;
      const who = webSocket.tokens.at(-1) ?? 'nobody';
      const cacheScope = String(params.uri).includes('public') ? 'public' : 'private';
      return { contents: [{ uri: String(params.uri), text: who }], ttlMs: 60_000, cacheScope };
    },
  });
  return made;
}

const textOf = (result: { contents: readonly object[] }) => (result.contents[0] as { text?: string }).text;

describe("one client's cache", () => {
  it("serves no user's data to another: what was answered to one token is not given to the next", async () => {
    let person = 'alice';
    const { client, service, webSocket } = personal(start({ credentials: { token: async () => person } }));
    expect(textOf(await client.readResource('test://a'))).toBe('alice');
    expect(textOf(await client.readResource('test://public'))).toBe('alice');
    person = 'bob';
    const first = webSocket.tokens.length;
    service.next = new RpcError('unauthenticated', 'The token has expired');
    const refused = watch(client.readResource('test://b'));
    await settle();
    service.next = undefined;
    await settle();
    expect(webSocket.tokens.slice(first)).toEqual(['bob']);
    expect(refused.settled).toBe(true);
    expect(textOf(await client.readResource('test://a')), 'private').toBe('bob');
    expect(textOf(await client.readResource('test://public')), 'public').toBe('alice');
  });

  it('finds what it had when a token is renewed for the same person, if told who that is', async () => {
    let version = 1;
    const { client, service } = personal(
      start({
        credentials: { token: async () => `alice-${version}` },
        cacheOptions: { partition: (token) => String(token).split('-')[0] ?? '' },
      }),
    );
    await client.readResource('test://a');
    version = 2;
    await client.reconnect();
    service.next = new RpcError('unauthenticated', 'expired');
    const refused = watch(client.readResource('test://b'));
    await settle();
    service.next = undefined;
    await settle();
    expect(refused.settled).toBe(true);
    expect(textOf(await client.readResource('test://a'))).toBe('alice-1');
  });

  it('keeps to its bytes', async () => {
    const { client, service } = start({ cacheOptions: { maxBytes: 1000 } });
    service.ttlMs = 60_000;
    for (let n = 0; n < 20; n += 1) await client.readResource(`test://${n}`);
    const { bytes, maxBytes, size, evictions } = client.getCacheStats();
    expect(maxBytes).toBe(1000);
    expect(bytes).toBeLessThanOrEqual(1000);
    expect(size).toBeGreaterThan(0);
    expect(evictions).toBe(20 - size);
    await client.readResource(`test://${'long'.repeat(1000)}`);
    expect(client.getCacheStats().bytes).toBeLessThanOrEqual(1000);
  });

  it.each<[string | RegExp | undefined, string[]]>([
    ['tools/list', ['resources/read test://a/1', 'resources/read test://b']],
    ['resources/read test://a/*', ['tools/list', 'resources/read test://b']],
    ['resources/read *', ['tools/list']],
    ['*', []],
    [undefined, []],
    [/\/\/b$/, ['tools/list', 'resources/read test://a/1']],
    ['resources/read test:..a.1', ['tools/list', 'resources/read test://a/1', 'resources/read test://b']],
  ])('forgets what clearCache(%s) names', async (pattern, kept) => {
    const { client, service } = start();
    service.ttlMs = 60_000;
    const ask = async () => {
      await client.listTools();
      for (const uri of ['test://a/1', 'test://b']) await client.readResource(uri);
    };
    await ask();
    client.clearCache(pattern);
    service.received.length = 0;
    await ask();
    const asked = service.received.map(({ method, params }) => [method, ...(params.uri === undefined ? [] : [params.uri])].join(' '));
    const all = ['tools/list', 'resources/read test://a/1', 'resources/read test://b'];
    expect(asked).toEqual(all.filter((each) => !kept.includes(each)));
  });

  it('tells listeners what it does', async () => {
    const { client, service } = start({ versionNegotiation: 'legacy' });
    const seen: string[] = [];
    client.on('cache', ({ kind, method }) => seen.push(`${kind} ${method}`));
    await client.listTools();
    await client.listTools();
    service.events.publish({ kind: 'tools_list_changed' });
    await settle();
    expect(seen).toEqual(['miss tools/list', 'hit tools/list', 'invalidated notifications/tools/list_changed']);
  });
});

describe('a stale result', () => {
  const options = { cacheOptions: { staleIfErrorMs: 10_000 }, retryOptions: { maxAttempts: 0 } };
  const failure = (code: ConstructorParameters<typeof RpcError>[0]) => new RpcError(code, 'No');

  it.each(['unavailable', 'upstream_error', 'internal_error'] as const)('is given out, marked, when the server says %s', async (code) => {
    const { client, clock, service } = start(options);
    service.ttlMs = 1000;
    await client.readResource('test://a');
    await clock.advance(4000);
    service.next = failure(code);
    const read = await client.readResource('test://a');
    expect(textOf(read)).toBe('read 1');
    expect(metaOf(read as JsonObject)[META.staleForMs]).toBe(3000);
    expect(client.getCacheStats()).toMatchObject({ staleHits: 1, hits: 0, misses: 2 });
    expect(client.getMetrics()).toMatchObject({ failedRequests: 0, cachedResponses: 1 });
    const fresh = await client.readResource('test://a');
    expect(textOf(fresh)).toBe('read 3');
    expect(metaOf(fresh as JsonObject)[META.staleForMs]).toBeUndefined();
  });

  it('is given out when the server does not answer in time', async () => {
    const { client, clock, service } = start(options);
    service.ttlMs = 1000;
    await client.readResource('test://a');
    await clock.advance(1000);
    service.hold.add('resources/read');
    const read = watch(client.readResource('test://a', { timeout: 2000 }));
    await clock.advance(2000);
    expect(read.value?.contents).toHaveLength(1);
  });

  it.each(['forbidden', 'resource_not_found', 'rate_limited', 'unauthenticated'] as const)('is none of an answer: %s', async (code) => {
    const { client, clock, service } = start(options);
    service.ttlMs = 1000;
    await client.readResource('test://a');
    await clock.advance(4000);
    service.next = failure(code);
    await expect(client.readResource('test://a')).rejects.toThrow();
  });

  it('is none when it is too old, was changed, is not wanted, or the option is off', async () => {
    for (const what of ['old', 'changed', 'unwanted', 'off']) {
      const { client, clock, service } = start({
        ...(what === 'off' ? { retryOptions: { maxAttempts: 0 } } : options),
        versionNegotiation: 'legacy',
      });
      service.ttlMs = 1000;
      await client.listTools();
      await clock.advance(what === 'old' ? 11_000 : 2000);
      if (what === 'changed') service.events.publish({ kind: 'tools_list_changed' });
      await settle();
      service.next = failure('unavailable');
      await expect(client.listTools(what === 'unwanted' ? { useCache: false } : {}), what).rejects.toMatchObject({ code: 'unavailable' });
    }
  });
});

describe('a shared store', () => {
  it('shares what is public between clients of one server, and nothing private', async () => {
    const store = new CacheStore();
    const [alice, bob, nobody, another] = ['alice', 'bob', undefined, undefined].map((token) =>
      personal(start({ cacheOptions: { store }, ...(token === undefined ? {} : { credentials: { token } }) })),
    ) as [ReturnType<typeof personal>, ReturnType<typeof personal>, ReturnType<typeof personal>, ReturnType<typeof personal>];
    for (const { client } of [alice, bob, nobody, another]) await client.connect();
    for (const { client } of [alice, bob, nobody, another]) {
      await client.readResource('test://public');
      await client.readResource('test://a');
    }
    expect([alice, bob, nobody, another].map(({ service }) => service.received.length)).toEqual([2, 1, 1, 1]);
    expect(textOf(await bob.client.readResource('test://a'))).toBe('bob');
    await alice.client.close();
    expect(textOf(await bob.client.readResource('test://public'))).toBe('alice');
    expect(bob.service.received).toHaveLength(1);
    bob.client.clearCache();
    expect(store.size).toBe(0);
  });

  it('keeps servers apart', async () => {
    const store = new CacheStore({ maxSize: 2 });
    const [one, two] = ['http://127.0.0.1:1', 'http://127.0.0.1:2'].map((serverUrl) =>
      personal(start({ serverUrl, cacheOptions: { store } })),
    );
    await one?.client.readResource('test://public');
    await two?.client.readResource('test://public');
    expect(two?.service.received).toHaveLength(1);
    two?.client.clearCache();
    await one?.client.readResource('test://public');
    expect(one?.service.received).toHaveLength(1);
    expect(store.size).toBe(1);
  });

  it.each([{ maxSize: 0 }, { maxBytes: 1.5 }])('refuses %o', (options) => {
    expect(() => new CacheStore(options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: Object.keys(options)[0] }));
  });
});

it('never crosses principals, whatever they are called, ask for and are told to forget', () => {
  // Names and parameters chosen to look like each other's keys.
  const name = fc.oneof(fc.constantFrom('', 'a', 'a ', '-', '1:a', 'a resources/read {"uri":"x"}'), fc.string({ maxLength: 8 }));
  const uri = fc.oneof(fc.constantFrom('x', '', '"x', 'x"} '), fc.string({ maxLength: 8 }));
  const step = fc.record({
    who: name,
    uri,
    act: fc.constantFrom('set', 'set', 'get', 'get', 'get', 'stale', 'updated', 'clear'),
    scope: fc.constantFrom('private', 'public', undefined),
    waitMs: fc.nat(300),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (run) => {
      let now = 0;
      const clock = { now: () => now, setTimeout: () => () => {} };
      const store = new CacheStore({ maxSize: 20 });
      const cache = new ResponseCache({ store, server: 'http://s/', defaultTTL: 1000, staleIfErrorMs: 500, clock, onEvent: () => {} });
      for (const { who, uri: asked, act, scope, waitMs } of run) {
        now += waitMs;
        const params = { uri: asked };
        const request = ResponseCache.cacheable('resources/read', params, {}, () => false);
        if (request === undefined) throw new Error('must be cacheable');
        if (act === 'set') {
          const result = { who, uri: asked, madeAt: clock.now(), ttlMs: 1000, ...(scope === undefined ? {} : { cacheScope: scope }) };
          cache.set(request, who, result, 'modern', {}, cache.generation('resources/read'));
        } else if (act === 'updated') cache.notified('notifications/resources/updated', params);
        else if (act === 'clear') cache.clear();
        else {
          const found = act === 'get' ? cache.get(request, who) : cache.getStale(request, who);
          if (found === undefined) continue;
          expect(found.uri).toBe(asked);
          if (found.cacheScope !== 'public') expect(found.who).toBe(who);
          expect(clock.now() - Number(found.madeAt)).toBeLessThan(act === 'get' ? 1000 : 1500);
        }
      }
    }),
    { numRuns: 500 },
  );
});
