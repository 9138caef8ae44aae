import { META, RpcError } from '@mcp-blocks/core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { RequestOptions } from '../src/index.js';
import { type Bench, bench, metaOf, settle, watch } from './support.js';

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
  await settle();
  for (const { clock } of closing) expect(clock.pendingTimers, 'timers left').toBe(0);
});

describe.each(['auto', 'modern', 'legacy'] as const)('requests, version negotiation %s', (versionNegotiation) => {
  it('calls every kind of method', async () => {
    const { client } = start({ versionNegotiation });
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['pay', 'look', 'put']);
    expect((await client.callTool('pay', { a: 1 })).content).toEqual([{ type: 'text', text: 'pay {"a":1} 1' }]);
    expect((await client.listResources()).resources).toHaveLength(1);
    expect((await client.listResourceTemplates()).resourceTemplates).toEqual([]);
    expect((await client.readResource('test://a')).contents).toHaveLength(1);
    expect((await client.listPrompts()).prompts).toHaveLength(1);
    expect((await client.getPrompt('p', { x: '1' })).messages).toHaveLength(1);
    expect(client.getConnectionStatus().era).toBe(versionNegotiation === 'legacy' ? 'legacy' : 'modern');
  });

  it("passes the server's errors on, with their data", async () => {
    const { client, service } = start({ versionNegotiation });
    service.next = new RpcError('rate_limited', 'Too many', { data: { retryAfterMs: 5 } });
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'rate_limited', jsonRpcCode: 429, data: { retryAfterMs: 5 } });
    await expect(client.request('acme/none')).rejects.toMatchObject({ code: 'method_not_found', jsonRpcCode: -32601 });
  });

  it('gives every tool call a key of its own, unless the caller has one', async () => {
    const { client, service } = start({ versionNegotiation });
    await client.callTool('pay');
    await client.callTool('pay');
    await client.request('tools/call', { name: 'pay', arguments: {}, _meta: { [META.idempotencyKey]: 'mine', other: 1 } });
    const metas = service.received.filter(({ method }) => method === 'tools/call').map(({ params }) => metaOf(params));
    expect(metas.map((meta) => meta[META.idempotencyKey])).toEqual(['key-1', 'key-2', 'mine']);
    expect(metas[2]).toMatchObject({ other: 1 });
  });
});

describe('the queue', () => {
  it('sends so many at a time, the highest priority first, first come first served within one', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    service.hold.add('pay');
    const blocker = client.callTool('pay', { n: 0 });
    const calls = [
      [1, 0],
      [2, 3],
      [3, 0],
      [4, 3],
      [5, -1],
    ].map(([n = 0, priority = 0]) => client.callTool('pay', { n }, { priority }));
    await settle();
    expect(client.getMetrics()).toMatchObject({ activeRequests: 1, queuedRequests: 5, totalRequests: 6 });
    service.release('pay');
    await Promise.all([blocker, ...calls]);
    expect(service.received.map(({ params }) => (params.arguments as { n: number }).n)).toEqual([0, 2, 4, 1, 3, 5]);
    expect(client.getMetrics()).toMatchObject({ activeRequests: 0, queuedRequests: 0, successfulRequests: 6 });
  });

  it('has no queue that grows without bound: what exceeds queueLimit is refused', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1, queueLimit: 1 });
    await client.connect();
    service.hold.add('pay');
    const [running, queued] = [watch(client.callTool('pay')), watch(client.callTool('pay'))];
    await settle();
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'unavailable', data: { queueLimit: 1 } });
    service.release('pay');
    await settle();
    expect([running.value, queued.value]).not.toContain(undefined);
  });

  it('counts the timeout from the call, in the queue and out of it', async () => {
    const { client, clock, service } = start({ maxConcurrentRequests: 1, requestTimeout: 1000 });
    await client.connect();
    service.hold.add('pay');
    const running = watch(client.callTool('pay', {}, { timeout: 5000 }));
    const queued = watch(client.callTool('pay'));
    await clock.advance(999);
    expect(queued.settled).toBe(false);
    await clock.advance(1);
    expect(queued.error).toMatchObject({ code: 'timeout', data: { timeoutMs: 1000, sent: false } });
    await clock.advance(4000);
    // Sent, and not to be repeated: nobody knows.
    expect(running.error).toMatchObject({ code: 'ambiguous_outcome', reason: 'timeout' });
    expect(service.count('tools/call')).toBe(1);
    expect(client.getMetrics()).toMatchObject({ failedRequests: 2, activeRequests: 0, queuedRequests: 0 });
  });

  it('cancels a queued request, and a sent one on the server too', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1 });
    const signals: AbortSignal[] = [];
    const { handler } = service;
    Object.assign(service, {
      handler: (request: never, context: { signal: AbortSignal }) => {
        signals.push(context.signal);
        return handler(request);
      },
    });
    await client.connect();
    service.hold.add('pay');
    const [first, second, third] = [new AbortController(), new AbortController(), AbortSignal.abort()];
    const sent = watch(client.callTool('pay', {}, { signal: first.signal }));
    const queued = watch(client.callTool('pay', {}, { signal: second.signal }));
    const never = watch(client.callTool('pay', {}, { signal: third }));
    await settle();
    second.abort();
    await settle();
    expect(queued.error).toMatchObject({ code: 'cancelled' });
    expect(never.error).toMatchObject({ code: 'cancelled' });
    first.abort();
    await settle();
    expect(sent.error).toMatchObject({ code: 'cancelled' });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it.each<[string, RequestOptions]>([
    ['options.priority', { priority: Number.NaN }],
    ['options.priority', { priority: 101 }],
    ['options.priority', { priority: 0.5 }],
    ['options.fairnessKey', { fairnessKey: 1 as never }],
    ['options.repeatable', { repeatable: 'yes' as never }],
    ['options.timeout', { timeout: 0 }],
    ['options.timeout', { timeout: 2 ** 31 }],
    ['options.ttl', { ttl: -1 }],
  ])('refuses a bad %s', async (option, options) => {
    const { client } = start();
    await expect(client.listTools(options)).rejects.toMatchObject({ name: 'ConfigurationError', option });
  });
});

describe('metrics', () => {
  it('count calls, and average the time of those the server answered', async () => {
    const { client, clock, service } = start({ versionNegotiation: 'legacy' });
    await client.connect();
    for (const ms of [100, 300]) {
      service.hold.add('pay');
      const call = client.callTool('pay');
      await clock.advance(ms);
      service.release('pay');
      await call;
    }
    service.next = new RpcError('forbidden', 'No');
    await expect(client.callTool('pay')).rejects.toThrow();
    expect(client.getMetrics()).toEqual({
      totalRequests: 3,
      successfulRequests: 2,
      failedRequests: 1,
      cachedResponses: 0,
      averageLatency: 200,
      activeRequests: 0,
      queuedRequests: 0,
      cacheHits: 0,
      reconnects: 0,
      fallbacks: 0,
      retries: 0,
      ambiguousOutcomes: 0,
      latencyPercentiles: { p50: expect.closeTo(100, -1), p95: expect.closeTo(300, -2), p99: expect.closeTo(300, -2) },
    });
    expect(client.getConnectionStatus().latency).toBeCloseTo(140);
  });
});

describe('events', () => {
  it("passes the server's notifications on in both eras", async () => {
    for (const versionNegotiation of ['modern', 'legacy'] as const) {
      const { client, service } = start({ versionNegotiation });
      const seen = vi.fn();
      client.on('notification', ({ method }) => seen(method));
      await client.connect();
      await settle();
      service.events.publish({ kind: 'tools_list_changed' });
      await settle();
      expect(seen, versionNegotiation).toHaveBeenCalledWith('notifications/tools/list_changed');
    }
  });

  it('listens again after reconnecting', async () => {
    const { client, service, webSocket } = start({ versionNegotiation: 'modern' });
    const seen = vi.fn();
    client.on('notification', ({ method }) => seen(method));
    await client.connect();
    await webSocket.cut();
    service.events.publish({ kind: 'tools_list_changed' });
    await settle();
    expect(seen.mock.calls.filter(([method]) => method === 'notifications/tools/list_changed')).toHaveLength(1);
  });

  it('listens again when the server ends the subscription, and forgets what it cached on the strength of it', async () => {
    const { client, clock, service, webSocket } = start({ versionNegotiation: 'modern' });
    const seen = vi.fn();
    client.on('notification', ({ method }) => seen(method));
    await client.listTools({ useCache: true });
    await client.listPrompts({ ttl: 60_000 });
    await webSocket.send({ jsonrpc: '2.0', id: 'listen:0', result: { resultType: 'complete' } } as never);
    await settle();
    expect(client.getCacheStats().size).toBe(2);
    await clock.advance(500);
    expect(client.getCacheStats().size).toBe(1);
    service.events.publish({ kind: 'prompts_list_changed' });
    await settle();
    expect(client.getCacheStats().size).toBe(0);
    expect(seen).toHaveBeenCalledWith('notifications/prompts/list_changed');
  });

  it('keeps a throwing listener from harming anybody, and reports it', async () => {
    const onError = vi.fn();
    const { client } = start({ onError });
    const other = vi.fn();
    client.on('statusChange', () => {
      throw new Error('mine');
    });
    client.on('statusChange', other);
    client.on('error', () => {
      throw new Error('worse');
    });
    await client.connect();
    expect(other).toHaveBeenCalled();
    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ message: 'mine' }));
  });

  it('reports progress', async () => {
    const { client, service } = start();
    const { handler } = service;
    Object.assign(service, {
      handler: async (request: { params: never }, context: { notify(method: string, params: object): Promise<void> }) => {
        const { progressToken } = metaOf(request.params);
        await context.notify('notifications/progress', { progressToken, progress: 1, total: 2 });
        return handler(request as never);
      },
    });
    const seen: object[] = [];
    await client.callTool('pay', {}, { onProgress: (progress) => seen.push(progress) });
    expect(seen).toEqual([{ progress: 1, total: 2 }]);
  });

  it('answers requests of the server through configureClient', async () => {
    const asked = vi.fn();
    const { client, service } = start({
      versionNegotiation: 'legacy',
      capabilities: { elicitation: { form: {} } },
      configureClient: (sdk) =>
        sdk.setRequestHandler('elicitation/create', async ({ params }) => {
          asked(params.message);
          return { action: 'accept', content: { name: 'Ada' } };
        }),
    });
    Object.assign(service, {
      handler: async (_request: object, context: { request(method: string, params: object): Promise<object> }) => {
        const answer = await context.request('elicitation/create', {
          message: 'Name?',
          requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
        });
        return { content: [{ type: 'text', text: JSON.stringify(answer) }] };
      },
    });
    expect(JSON.stringify(await client.callTool('pay'))).toContain('Ada');
    expect(asked).toHaveBeenCalledWith('Name?');
  });
});
