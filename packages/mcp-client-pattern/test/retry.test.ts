import { META, RpcError } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { AmbiguousOutcomeError, type MCPClientEvents } from '../src/index.js';
import { benches, metaOf, settle, watch } from './support.js';

const start = benches();
const busy = (retryAfterMs?: number) => new RpcError('rate_limited', 'Busy', retryAfterMs === undefined ? {} : { data: { retryAfterMs } });

describe('a request that may be repeated', () => {
  it('is sent again after as long as the server asks for, and a random pause on top', async () => {
    const { client, clock, service } = start();
    await client.connect();
    const retries: MCPClientEvents['retry'][] = [];
    client.on('retry', (retry) => retries.push(retry));
    service.next = busy(4000);
    const read = watch(client.readResource('test://a'));
    await clock.advance(4049);
    expect(service.count('resources/read')).toBe(1);
    expect(client.getMetrics()).toMatchObject({ queuedRequests: 1, activeRequests: 0 });
    await clock.advance(1);
    expect(read.value).toBeDefined();
    expect(retries).toEqual([
      { method: 'resources/read', attempt: 1, delayMs: 4050, reason: expect.objectContaining({ code: 'rate_limited' }) },
    ]);
    expect(client.getMetrics()).toMatchObject({ retries: 1, successfulRequests: 1, failedRequests: 0, queuedRequests: 0 });
  });

  it.each(['rate_limited', 'unavailable', 'upstream_error'] as const)('is sent again after %s, so often and no more', async (code) => {
    const { client, clock, service } = start({ retryOptions: { maxAttempts: 3 } });
    await client.connect();
    Object.assign(service, {
      handler: () => {
        service.received.push({ method: 'resources/read', params: {} });
        return Promise.reject(new RpcError(code, 'No'));
      },
    });
    const read = watch(client.readResource('test://a'));
    await clock.advance(10_000);
    expect(read.error?.code).toBe(code);
    expect(service.count('resources/read')).toBe(4);
  });

  it.each(['invalid_params', 'forbidden', 'internal_error', 'timeout', 'resource_not_found'] as const)(
    'is not sent again after %s',
    async (code) => {
      const { client, clock, service } = start();
      await client.connect();
      service.next = new RpcError(code, 'No');
      const read = watch(client.readResource('test://a'));
      await clock.advance(10_000);
      expect(read.error).toBeDefined();
      expect(service.count('resources/read')).toBe(1);
    },
  );

  it('fails at once when its time is over before the server wants to hear of it', async () => {
    const { client, service } = start();
    await client.connect();
    await client.listTools();
    service.next = busy(5000);
    const call = watch(client.callTool('look', {}, { timeout: 5000 }));
    await settle();
    expect(call.error).toMatchObject({ code: 'rate_limited', data: { retryAfterMs: 5000 } });
  });

  it('can be cancelled in the pause', async () => {
    const { client, clock, service } = start();
    await client.connect();
    service.next = busy(5000);
    const cancel = new AbortController();
    const read = watch(client.readResource('test://a', { signal: cancel.signal }));
    await settle();
    cancel.abort();
    await settle();
    expect(read.error?.code).toBe('cancelled');
    expect(client.getMetrics().queuedRequests).toBe(0);
    await clock.advance(60_000);
    expect(service.count('resources/read')).toBe(1);
  });

  it('is retried within a budget: a server in trouble gets little more than the requests it gets anyway', async () => {
    const { client, clock, service } = start({ retryOptions: { budgetRatio: 0.2, minPerSecond: 1 }, maxConcurrentRequests: 1000 });
    await client.connect();
    let arrived = 0;
    Object.assign(service, {
      handler: () => {
        arrived += 1;
        return Promise.reject(new RpcError('unavailable', 'Down'));
      },
    });
    const reads = Array.from({ length: 500 }, (_, n) => watch(client.readResource(`test://${n}`)));
    await clock.advance(9000);
    expect(reads.every(({ error }) => error?.code === 'unavailable')).toBe(true);
    expect(arrived).toBe(500 + 0.2 * 500 + 10);
    expect(client.getMetrics().retries).toBe(110);
  });
});

describe('a request that may not be repeated', () => {
  it('fails with what the server says', async () => {
    const { client, clock, service } = start();
    await client.connect();
    service.next = busy(10);
    const call = watch(client.callTool('pay'));
    await clock.advance(10_000);
    expect(call.error).toMatchObject({ code: 'rate_limited' });
    expect(service.count('tools/call')).toBe(1);
  });

  it('is repeated with the same key when its caller says it may be', async () => {
    const { client, clock, service, webSocket } = start();
    await client.connect();
    service.next = busy(10);
    const call = watch(client.callTool('pay', {}, { repeatable: true }));
    await clock.advance(10_000);
    expect(call.value).toBeDefined();
    service.hold.add('pay');
    const cut = watch(client.callTool('pay', {}, { repeatable: true }));
    await settle();
    service.hold.clear();
    await webSocket.cut();
    expect(cut.value).toBeDefined();
    const keys = service.received.map(({ params }) => metaOf(params)[META.idempotencyKey]);
    expect(keys).toEqual(['key-1', 'key-1', 'key-2', 'key-2']);
  });

  it('stays at one delivery when its caller says it may not be repeated, whatever the tool says', async () => {
    const { client, service, webSocket } = start();
    await client.listTools();
    service.hold.add('look');
    const call = watch(client.callTool('look', {}, { repeatable: false }));
    await settle();
    await webSocket.cut();
    expect(call.error).toBeInstanceOf(AmbiguousOutcomeError);
    expect(service.count('tools/call')).toBe(1);
  });

  it('whose outcome the server does not know is told of like any other', async () => {
    const { client, service } = start();
    const told: AmbiguousOutcomeError[] = [];
    client.on('ambiguousOutcome', (error) => told.push(error));
    service.next = new RpcError('ambiguous_outcome', 'A node was lost', { data: { node: 'n1' } });
    const error = await client.callTool('pay').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AmbiguousOutcomeError);
    expect(error).toMatchObject({ reason: 'upstream', jsonRpcCode: 504, data: { node: 'n1', idempotencyKey: 'key-1' } });
    expect(told).toEqual([error]);
    expect(client.getMetrics().ambiguousOutcomes).toBe(1);
  });
});

describe('the queue of a client', () => {
  const order = (service: { received: { params: object }[] }) =>
    service.received.map(({ params }) => (params as { arguments: { n: string } }).arguments.n).join(' ');

  it('lets what has waited go before a higher priority that came later', async () => {
    const { client, clock, service } = start({ maxConcurrentRequests: 1, priorityAgeingMs: 1000 });
    await client.connect();
    service.hold.add('pay');
    const calls = [client.callTool('pay', { n: 'first' })];
    calls.push(client.callTool('pay', { n: 'low' }, { priority: 0 }));
    await clock.advance(1999);
    calls.push(client.callTool('pay', { n: 'soon' }, { priority: 2 }));
    await clock.advance(1);
    calls.push(client.callTool('pay', { n: 'late' }, { priority: 2 }));
    service.release('pay');
    await Promise.all(calls);
    expect(order(service)).toBe('first soon low late');
  });

  it('gives the keys of a level turns', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    service.hold.add('pay');
    const calls = ['a0', 'a1', 'a2', 'a3', 'b1'].map((n) => client.callTool('pay', { n }, { fairnessKey: n.slice(0, 1) }));
    await settle();
    service.release('pay');
    await Promise.all(calls);
    expect(order(service)).toBe('a0 a1 b1 a2 a3');
  });

  it('does not send what cannot be answered in time any more', async () => {
    const { client, clock, service } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    const slow = async (running: Promise<unknown>) => {
      await clock.advance(100);
      service.release('pay');
      await running;
    };
    service.hold.add('pay');
    await slow(client.callTool('pay', { n: 'measured' }));
    service.hold.add('pay');
    const running = client.callTool('pay', { n: 'running' });
    const hopeless = watch(client.callTool('pay', { n: 'hopeless' }, { timeout: 199 }));
    const inTime = watch(client.callTool('pay', { n: 'in time' }, { timeout: 200 }));
    await slow(running);
    await settle();
    expect(hopeless.error).toMatchObject({ code: 'timeout', data: { sent: false } });
    expect(inTime.value).toBeDefined();
    expect(order(service)).toBe('measured running in time');
  });

  it('says so when it is full', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1, queueLimit: 1 });
    const full: object[] = [];
    client.on('queueFull', (event) => full.push(event));
    await client.connect();
    service.hold.add('pay');
    const calls = [1, 2, 3].map(() => watch(client.callTool('pay')));
    await settle();
    expect(calls[2]?.error).toMatchObject({ code: 'unavailable', data: { queueLimit: 1 } });
    expect(full).toEqual([{ method: 'tools/call', queueLimit: 1 }]);
    service.release('pay');
    await settle();
  });

  it('survives listeners that close the client at the worst moment', async () => {
    for (const event of ['retry', 'statusChange', 'queueFull'] as const) {
      const { client, clock, service, webSocket } = start({ maxConcurrentRequests: 1, queueLimit: 1 });
      await client.connect();
      service.hold.add('resources/read');
      const reads = ['a', 'b'].map((name) => watch(client.readResource(`test://${name}`)));
      await settle();
      client.on(event, () => void client.close());
      reads.push(watch(client.readResource('test://c')));
      await webSocket.cut();
      await clock.advance(1000);
      expect(
        reads.map(({ settled }) => settled),
        event,
      ).toEqual([true, true, true]);
      expect(client.getMetrics(), event).toMatchObject({ activeRequests: 0, queuedRequests: 0 });
    }
  });
});

describe('batchCall', () => {
  it('says of each request what became of it, in order', async () => {
    const { client, service } = start();
    service.ttlMs = 60_000;
    const results = await client.batchCall([
      { method: 'resources/read', params: { uri: 'test://a' } },
      { method: 'acme/none' },
      { method: 'tools/call', params: { name: 'pay', arguments: {} }, priority: 3 },
      { method: 'resources/read', params: { uri: 'test://a' } },
      { method: 'tools/list', timeout: -1 },
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([true, false, true, true, false]);
    expect(results[1]).toMatchObject({ error: { code: 'method_not_found' } });
    expect(results[4]).toMatchObject({ error: { name: 'ConfigurationError', option: 'options.timeout' } });
    expect(service.count('resources/read'), 'identical reads').toBe(1);
    expect(await client.batchCall([])).toEqual([]);
  });

  it('holds back what exceeds its concurrency, so that it does not fill the queue', async () => {
    const { client, service } = start({ maxConcurrentRequests: 2, queueLimit: 3 });
    await client.connect();
    const items = Array.from({ length: 50 }, (_, n) => ({ method: 'tools/call', params: { name: 'pay', arguments: { n } } }));
    const results = await client.batchCall(items);
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(service.count('tools/call')).toBe(50);
    service.hold.add('pay');
    const narrow = client.batchCall(items.slice(0, 3), { concurrency: 1 });
    await settle();
    expect(client.getMetrics()).toMatchObject({ activeRequests: 1, queuedRequests: 0 });
    service.release('pay');
    await narrow;
    await expect(client.batchCall([], { concurrency: 0 })).rejects.toMatchObject({ option: 'concurrency' });
  });
});
