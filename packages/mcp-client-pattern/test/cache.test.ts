import type { JsonObject } from '@mcp-blocks/core';
import { afterEach, describe, expect, it } from 'vitest';
import { type Bench, bench, settle, watch } from './support.js';

let open: Bench[] = [];
function start(...args: Parameters<typeof bench>): Bench {
  const made = bench(...args);
  open.push(made);
  return made;
}
afterEach(async () => {
  const closing = open;
  open = [];
  for (const { client } of closing) await client.close();
});

const textOf = (result: object): string => /(read|prompt|look \{.*\}) (\d+)/.exec(JSON.stringify(result))?.[2] ?? '?';

describe('how long a result is fresh', () => {
  it("is the server's word", async () => {
    const { client, clock, service } = start();
    service.ttlMs = 1000;
    expect(textOf(await client.readResource('test://a'))).toBe('1');
    await clock.advance(999);
    expect(textOf(await client.readResource('test://a'))).toBe('1');
    await clock.advance(1);
    expect(textOf(await client.readResource('test://a'))).toBe('2');
    expect(client.getCacheStats()).toMatchObject({ hits: 1, misses: 2, hitRate: 1 / 3, size: 1 });
    expect(client.getMetrics()).toMatchObject({ totalRequests: 3, successfulRequests: 3, cachedResponses: 1, cacheHits: 1 });
  });

  it('is nothing on a modern connection whose server says 0 or nothing', async () => {
    const { client, service } = start({ versionNegotiation: 'modern' });
    await client.readResource('test://a');
    service.ttlMs = 0;
    await client.readResource('test://a');
    await client.readResource('test://a');
    expect(service.count('resources/read')).toBe(3);
  });

  it('is defaultTTL on a legacy connection, which has no word for it', async () => {
    const { client, clock, service } = start({ versionNegotiation: 'legacy', cacheOptions: { defaultTTL: 5000 } });
    await client.listTools();
    await clock.advance(4999);
    await client.listTools();
    expect(service.count('tools/list')).toBe(1);
    await clock.advance(1);
    await client.listTools();
    expect(service.count('tools/list')).toBe(2);
  });

  it("is the caller's ttl before everything else", async () => {
    const { client, clock, service } = start();
    service.ttlMs = 60_000;
    await client.readResource('test://a', { ttl: 100 });
    await clock.advance(100);
    await client.readResource('test://a');
    expect(service.count('resources/read')).toBe(2);
  });

  it('is defaultTTL when the caller asks for caching and the server says nothing', async () => {
    const { client, service } = start({ versionNegotiation: 'modern' });
    await client.readResource('test://a', { useCache: true });
    await client.readResource('test://a', { useCache: true });
    expect(service.count('resources/read')).toBe(1);
  });
});

describe('what is cached', () => {
  const calls: [string, JsonObject][] = [
    ['tools/list', {}],
    ['resources/list', {}],
    ['resources/templates/list', {}],
    ['prompts/list', {}],
    ['resources/read', { uri: 'test://a' }],
  ];

  it.each(calls)('%s, without being asked to', async (method, params) => {
    const { client, service } = start();
    service.ttlMs = 1000;
    await client.request(method, params);
    await client.request(method, params);
    expect(service.count(method)).toBe(1);
  });

  it.each(calls)('%s, not with useCache: false or caching off', async (method, params) => {
    const { client, service } = start();
    service.ttlMs = 1000;
    await client.request(method, params);
    await client.request(method, params, { useCache: false });
    expect(service.count(method)).toBe(2);
    const off = start({ enableCaching: false });
    off.service.ttlMs = 1000;
    await off.client.request(method, params);
    await off.client.request(method, params);
    expect(off.service.count(method)).toBe(2);
  });

  it('prompts and read-only tools, only when asked to', async () => {
    const { client, service } = start();
    await client.listTools();
    for (const options of [{}, { useCache: true }, { useCache: true }]) {
      await client.getPrompt('p', {}, options);
      await client.callTool('look', {}, options);
      await client.callTool('pay', {}, options);
    }
    expect(service.count('prompts/get')).toBe(2);
    const names = service.received.filter(({ method }) => method === 'tools/call').map(({ params }) => params.name);
    expect(names).toEqual(['look', 'pay', 'look', 'pay', 'pay']);
  });

  it('by method and parameters, in whatever order, _meta aside', async () => {
    const { client, service } = start();
    service.ttlMs = 1000;
    await client.request('resources/read', { uri: 'test://a', x: { b: 1, a: 2 } });
    await client.request('resources/read', { x: { a: 2, b: 1 }, uri: 'test://a', _meta: { 'x/y': 1 } });
    expect(service.count('resources/read')).toBe(1);
    await client.request('resources/read', { uri: 'test://b', x: { a: 2, b: 1 } });
    expect(service.count('resources/read')).toBe(2);
  });

  it('as a copy nobody else can change', async () => {
    const { client, service } = start();
    service.ttlMs = 1000;
    const first = await client.listTools();
    first.tools.length = 0;
    const second = await client.listTools();
    expect(second.tools).toHaveLength(3);
    second.tools.length = 0;
    expect((await client.listTools()).tools).toHaveLength(3);
  });

  it('up to maxSize, the least recently used going first', async () => {
    const { client, service } = start({ cacheOptions: { maxSize: 2 } });
    service.ttlMs = 1000;
    for (const uri of ['test://a', 'test://b', 'test://a', 'test://c', 'test://a', 'test://b']) await client.readResource(uri);
    expect(service.received.map(({ params }) => params.uri)).toEqual(['test://a', 'test://b', 'test://c', 'test://b']);
    expect(client.getCacheStats()).toMatchObject({ size: 2, maxSize: 2, evictions: 2 });
  });

  it('until clearCache', async () => {
    const { client, service } = start();
    service.ttlMs = 1000;
    await client.listTools();
    client.clearCache();
    await client.listTools();
    expect(service.count('tools/list')).toBe(2);
  });

  it('never when the server asked for input on the way', async () => {
    const { client, service } = start({
      versionNegotiation: 'modern',
      capabilities: { elicitation: { form: {} } },
      configureClient: (sdk) => sdk.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } })),
    });
    let asked = 0;
    Object.assign(service, {
      handler: async ({ params }: { params: JsonObject }) => {
        if (params.inputResponses !== undefined)
          return { contents: [{ uri: 'test://a', text: 'done' }], ttlMs: 60_000, cacheScope: 'private' };
        asked += 1;
        const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
        return {
          resultType: 'input_required',
          inputRequests: { name: { method: 'elicitation/create', params: { mode: 'form', message: 'Name?', requestedSchema } } },
        };
      },
    });
    await client.readResource('test://a');
    await client.readResource('test://a');
    expect(asked).toBe(2);
    expect(client.getCacheStats().size).toBe(0);
  });
});

describe('invalidation', () => {
  it.each([
    ['tools_list_changed', 'tools/list'],
    ['prompts_list_changed', 'prompts/list'],
    ['resources_list_changed', 'resources/list'],
    ['resources_list_changed', 'resources/templates/list'],
  ] as const)('%s makes %s stale, in both eras', async (kind, method) => {
    for (const versionNegotiation of ['modern', 'legacy'] as const) {
      const { client, service } = start({ versionNegotiation });
      service.ttlMs = 600_000;
      await client.request(method);
      await settle();
      service.events.publish({ kind });
      await settle();
      await client.request(method);
      await client.request(method);
      expect(service.count(method), versionNegotiation).toBe(2);
      expect(client.getCacheStats().invalidations).toBe(1);
    }
  });

  it('an updated resource makes only its own read stale', async () => {
    const { client, service } = start({ versionNegotiation: 'legacy' });
    Object.assign(service, { handler: wrap(service.handler, 'resources/subscribe', {}) });
    await client.request('resources/subscribe', { uri: 'test://a' });
    await client.readResource('test://a');
    await client.readResource('test://b');
    service.events.publish({ kind: 'resource_updated', uri: 'test://a' });
    await settle();
    await client.readResource('test://a');
    await client.readResource('test://b');
    expect(service.received.filter(({ method }) => method === 'resources/read').map(({ params }) => params.uri)).toEqual([
      'test://a',
      'test://b',
      'test://a',
    ]);
  });

  it('of an answer on its way keeps it out of the cache and from later callers', async () => {
    const { client, service } = start({ versionNegotiation: 'legacy' });
    await client.connect();
    service.hold.add('tools/list');
    const early = watch(client.listTools());
    await settle();
    service.events.publish({ kind: 'tools_list_changed' });
    await settle();
    const late = watch(client.listTools());
    await settle();
    expect(service.count('tools/list')).toBe(2);
    service.release('tools/list');
    await settle();
    expect([early.value, late.value]).not.toContain(undefined);
    await client.listTools();
    expect(service.count('tools/list')).toBe(2);
  });

  it('of an answer on its way keeps that answer from being stored', async () => {
    const { client, service } = start({ versionNegotiation: 'legacy' });
    await client.connect();
    service.hold.add('tools/list');
    const early = watch(client.listTools());
    await settle();
    service.events.publish({ kind: 'tools_list_changed' });
    await settle();
    service.release('tools/list');
    await settle();
    expect(early.value).toBeDefined();
    await client.listTools();
    expect(service.count('tools/list')).toBe(2);
  });

  it('by a reconnect spares what the server gave a lifetime, and no guess of ours', async () => {
    const { client, service, webSocket } = start({ versionNegotiation: 'legacy' });
    await client.listTools();
    service.ttlMs = 600_000;
    await client.listPrompts();
    await webSocket.cut();
    await client.listTools();
    await client.listPrompts();
    expect([service.count('tools/list'), service.count('prompts/list')]).toEqual([2, 1]);
  });
});

describe('identical requests in progress', () => {
  it('are sent once and answered to all, each its own copy', async () => {
    const { client, service } = start();
    await client.connect();
    service.hold.add('resources/read');
    const reads = [1, 2, 3].map(() => client.readResource('test://a'));
    await settle();
    service.release('resources/read');
    const [a, b, c] = await Promise.all(reads);
    expect(a).toEqual(b);
    expect(a).not.toBe(b);
    expect(b).not.toBe(c);
    expect(service.count('resources/read')).toBe(1);
    expect(client.getMetrics()).toMatchObject({ totalRequests: 3, successfulRequests: 3, cachedResponses: 2, cacheHits: 0 });
  });

  it('outlive a caller that gives up, and end with the last', async () => {
    const { client, clock, service } = start();
    const signals: AbortSignal[] = [];
    const { handler } = service;
    Object.assign(service, {
      handler: (request: never, context: { signal: AbortSignal }) => {
        signals.push(context.signal);
        return handler(request);
      },
    });
    await client.connect();
    service.hold.add('resources/read');
    const cancel = new AbortController();
    const first = watch(client.readResource('test://a', { signal: cancel.signal }));
    const second = watch(client.readResource('test://a', { timeout: 500 }));
    await settle();
    cancel.abort();
    await settle();
    expect(first.error?.code).toBe('cancelled');
    expect(signals[0]?.aborted).toBe(false);
    await clock.advance(500);
    expect(second.error?.code).toBe('timeout');
    await settle();
    expect(signals[0]?.aborted).toBe(true);
    expect(client.getMetrics()).toMatchObject({ activeRequests: 0, queuedRequests: 0, failedRequests: 2 });
  });

  it('fail together', async () => {
    const { client, service } = start();
    await client.connect();
    service.hold.add('resources/read');
    const reads = [1, 2].map(() => watch(client.readResource('test://a')));
    await settle();
    service.expireHeld();
    await settle();
    expect(reads.map(({ error }) => error?.code)).toEqual(['unauthenticated', 'unauthenticated']);
  });
});

function wrap(handler: (request: never) => Promise<JsonObject>, method: string, result: JsonObject) {
  return async (request: { method: string }) => (request.method === method ? result : handler(request as never));
}
