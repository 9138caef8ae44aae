import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { describe, expect, it, vi } from 'vitest';
import { RpcError, type RpcService, ServiceEventEmitter } from '../src/index.js';
import { type ChannelTransport, serveChannel } from '../src/sdk/index.js';
import { settle, testPrincipal } from '../src/testing/index.js';

const connection = { principal: testPrincipal(), transport: 'memory' };

/** A service whose calls wait until they are released. */
function slowService() {
  const running: { release(): void; signal: AbortSignal }[] = [];
  const service: RpcService = {
    info: { name: 'slow', version: '1', capabilities: { tools: {} } },
    handler: (_request, { signal }) => new Promise((resolve) => running.push({ signal, release: () => resolve({ content: [] }) })),
  };
  return { service, running };
}

async function connect(service: RpcService, options: Parameters<typeof serveChannel>[3] = {}, mode: 'auto' | 'legacy' = 'auto') {
  const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
  const wire: ChannelTransport = Object.assign(serverEnd as ChannelTransport, { pause: vi.fn(), resume: vi.fn() });
  const served = serveChannel(service, wire, connection, options);
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
  await client.connect(clientEnd);
  return { client, served, wire };
}

describe('the bound on requests in progress', () => {
  it('lets as many wait, pauses the wire then, and resumes when there is room', async () => {
    const { service, running } = slowService();
    const { client, served, wire } = await connect(service, { maxInFlight: 2 });
    const calls = [1, 2, 3].map(() => client.callTool({ name: 'x' }));
    await settle();
    expect(running).toHaveLength(2);
    expect(served.inFlight).toBe(3);
    expect(wire.pause).not.toHaveBeenCalled();
    calls.push(client.callTool({ name: 'x' }));
    await settle();
    expect(wire.pause).toHaveBeenCalledTimes(1);
    running[0]?.release();
    await settle();
    expect(running).toHaveLength(3);
    expect(wire.resume).toHaveBeenCalledTimes(1);
    for (let next = 1; next < 4; next += 1) {
      running[next]?.release();
      await settle();
    }
    await Promise.all(calls);
    await served.idle();
    expect(served.inFlight).toBe(0);
    await client.close();
  });

  it('cannot be evaded by giving every request the same id', async () => {
    const { service, running } = slowService();
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    const served = serveChannel(service, serverEnd, connection, { maxInFlight: 2 });
    const answers: { id?: unknown; error?: { code: number } }[] = [];
    clientEnd.onmessage = (message) => answers.push(message as never);
    await clientEnd.start();
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    for (const id of [7, 7, 7, 7, 8, 9, 9]) {
      await clientEnd.send({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x', arguments: {}, _meta } });
    }
    await settle();
    expect(running).toHaveLength(2);
    // 7 and 8 run, 9 waits; the others are refused, those of a waiting id too.
    expect(served.inFlight).toBe(3);
    expect(answers.map(({ id, error }) => [id, error?.code])).toEqual([
      [7, -32600],
      [7, -32600],
      [7, -32600],
      [9, -32600],
    ]);
    for (let next = 0; next < 3; next += 1) {
      running[next]?.release();
      await settle();
    }
    await served.idle();
    expect(answers.slice(4).map(({ id }) => id)).toEqual([7, 8, 9]);
    // An id is free again once it is answered.
    await clientEnd.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'x', arguments: {}, _meta } });
    await settle();
    expect(running).toHaveLength(4);
    await served.close();
  });

  it('frees the place of a cancelled request, and its handler hears of it', async () => {
    const { service, running } = slowService();
    const { client, served } = await connect(service, { maxInFlight: 1 });
    const abort = new AbortController();
    const cancelled = client.callTool({ name: 'x' }, { signal: abort.signal });
    await settle();
    const next = client.callTool({ name: 'y' });
    abort.abort();
    await expect(cancelled).rejects.toThrow();
    await settle();
    expect(running[0]?.signal.aborted).toBe(true);
    expect(running).toHaveLength(2);
    running[1]?.release();
    await next;
    await served.close();
  });

  it('never starts a request that was cancelled while it waited', async () => {
    const { service, running } = slowService();
    const { client, served } = await connect(service, { maxInFlight: 1 });
    const first = client.callTool({ name: 'x' });
    await settle();
    const abort = new AbortController();
    const waiting = client.callTool({ name: 'y' }, { signal: abort.signal });
    await settle();
    abort.abort();
    await expect(waiting).rejects.toThrow();
    running[0]?.release();
    await first;
    await settle();
    expect(running).toHaveLength(1);
    expect(served.inFlight).toBe(0);
    await served.close();
  });

  it('does not stop an answer of the client that a handler waits for', async () => {
    const service: RpcService = {
      info: { name: 'asking', version: '1', capabilities: { tools: {} } },
      handler: async (_request, context) => ({
        content: [{ type: 'text', text: JSON.stringify(await context.request?.('roots/list', {})) }],
      }),
    };
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    let paused = false;
    const held: unknown[] = [];
    const wire = serverEnd as ChannelTransport;
    wire.pause = () => (paused = true);
    wire.resume = () => {
      paused = false;
      for (const message of held.splice(0)) wire.onmessage?.(message as never);
    };
    serveChannel(service, wire, connection, { maxInFlight: 1 });
    const deliver = wire.onmessage;
    wire.onmessage = (message, extra) => (paused ? void held.push(message) : deliver?.(message, extra));
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'legacy' }, capabilities: { roots: {} } });
    client.setRequestHandler('roots/list', async () => ({ roots: [] }));
    await client.connect(clientEnd);
    const results = await Promise.all([1, 2, 3, 4].map(() => client.callTool({ name: 'x' })));
    expect(results.map((result) => result.content)).toEqual(Array(4).fill([{ type: 'text', text: '{"roots":[]}' }]));
    await client.close();
  });

  it('is on what is asked for subscriptions too, and nothing more is asked for who has cancelled or left', async () => {
    const asked: { uri: unknown; signal: AbortSignal; answer(): void }[] = [];
    const service: RpcService = {
      info: { name: 'resources', version: '1', capabilities: { resources: { subscribe: true } } },
      handler: ({ params: { uri } }, { signal }) => new Promise((resolve) => asked.push({ uri, signal, answer: () => resolve({}) })),
    };
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    const served = serveChannel(service, serverEnd, connection, { maxInFlight: 2 });
    const answers: { id?: unknown; method?: string; error?: { code: number } }[] = [];
    clientEnd.onmessage = (message) => answers.push(message as never);
    await clientEnd.start();
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const listen = (id: number) =>
      clientEnd.send({
        jsonrpc: '2.0',
        id,
        method: 'subscriptions/listen',
        params: { notifications: { resourceSubscriptions: [`x://${id}/a`, `x://${id}/b`] }, _meta },
      });
    for (const id of [1, 2, 3, 3]) await listen(id);
    await settle();
    expect(asked.map(({ uri }) => uri)).toEqual(['x://1/a', 'x://2/a']);
    expect(answers).toMatchObject([{ id: 3, error: { code: -32600 } }]);
    expect(served.inFlight).toBe(3);
    await clientEnd.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    asked[0]?.answer();
    await settle();
    expect(asked.map(({ uri }) => uri).slice(2)).toContain('x://3/a');
    for (let next = 1; next < asked.length; next += 1) {
      asked[next]?.answer();
      await settle();
    }
    // The first one is not open, and does not count any more; nor do the two that are open.
    expect(answers.filter(({ method }) => method === 'notifications/subscriptions/acknowledged')).toHaveLength(2);
    expect(served.inFlight).toBe(0);
    await listen(4);
    await settle();
    const last = asked.at(-1);
    await served.close();
    expect(last?.signal.aborted).toBe(true);
    last?.answer();
    await settle();
    expect(asked.at(-1)).toBe(last);
  });

  it('refuses what would wait without end, and only that', async () => {
    const { service, running } = slowService();
    const { client, served } = await connect(service, { maxInFlight: 1 });
    const calls = Array.from({ length: 18 }, () =>
      client.callTool({ name: 'x' }).then(
        () => 'answered',
        (error: { code: number }) => error.code,
      ),
    );
    await settle();
    expect(served.inFlight).toBe(17);
    for (let next = 0; next < 17; next += 1) {
      running[next]?.release();
      await settle();
    }
    const outcomes = await Promise.all(calls);
    expect(outcomes.filter((outcome) => outcome === 'answered')).toHaveLength(17);
    expect(outcomes.filter((outcome) => outcome === 503)).toHaveLength(1);
    await served.close();
  });
});

describe('change events', () => {
  const uri = 'file:///secret';

  function eventful() {
    const events = new ServiceEventEmitter();
    const service: RpcService = {
      info: { name: 'events', version: '1', capabilities: { tools: { listChanged: true }, resources: { subscribe: true } } },
      events,
      handler: async ({ method, params }) => {
        if (method === 'resources/subscribe' && params.uri === uri) throw new RpcError('invalid_params', 'Unknown resource');
        return {};
      },
    };
    return { events, service };
  }

  it('reach a modern client that listens, and stop with the connection', async () => {
    const { events, service } = eventful();
    const { client, served } = await connect(service);
    const seen = vi.fn();
    client.setNotificationHandler('notifications/tools/list_changed', seen);
    events.publish({ kind: 'tools_list_changed' });
    await settle();
    expect(seen, 'nobody asked yet').not.toHaveBeenCalled();
    await client.listen({ toolsListChanged: true });
    events.publish({ kind: 'tools_list_changed' });
    await settle();
    expect(seen).toHaveBeenCalledTimes(1);
    await served.close();
    await client.close();
    expect(events.listenerCount).toBe(0);
  });

  it('reach a legacy client unasked', async () => {
    const { events, service } = eventful();
    const { client } = await connect(service, {}, 'legacy');
    const seen = vi.fn();
    client.setNotificationHandler('notifications/tools/list_changed', seen);
    events.publish({ kind: 'tools_list_changed' });
    await settle();
    expect(seen).toHaveBeenCalledTimes(1);
    await client.close();
  });

  it('of a resource reach a legacy client only between subscribe and unsubscribe', async () => {
    const { events, service } = eventful();
    const { client } = await connect(service, {}, 'legacy');
    const seen = vi.fn();
    client.setNotificationHandler('notifications/resources/updated', seen);
    const publish = async () => {
      events.publish({ kind: 'resource_updated', uri: 'file:///a' });
      await settle();
    };
    await publish();
    await client.subscribeResource({ uri: 'file:///a' });
    await publish();
    await client.unsubscribeResource({ uri: 'file:///a' });
    await publish();
    expect(seen).toHaveBeenCalledTimes(1);
    await client.close();
  });

  it('of a resource the service refuses cannot be listened to in either era', async () => {
    const { service } = eventful();
    const modern = await connect(service);
    await expect(modern.client.listen({ resourceSubscriptions: [uri] })).rejects.toMatchObject({
      message: expect.stringContaining('Unknown resource'),
    });
    await modern.client.close();
    const legacy = await connect(service, {}, 'legacy');
    await expect(legacy.client.subscribeResource({ uri })).rejects.toMatchObject({ message: expect.stringContaining('Unknown resource') });
    await legacy.client.close();
  });

  it('cannot be asked for of a resource whose URI is too long to be remembered, in either era', async () => {
    const asked: unknown[] = [];
    const service: RpcService = {
      info: { name: 'resources', version: '1', capabilities: { resources: { subscribe: true } } },
      handler: async ({ params }) => {
        asked.push(params.uri);
        return {};
      },
    };
    const uri = `x://${'y'.repeat(2044)}`;
    const modern = await connect(service);
    await expect(modern.client.listen({ resourceSubscriptions: [`${uri}y`] })).rejects.toMatchObject({ code: -32602 });
    await (await modern.client.listen({ resourceSubscriptions: [uri] })).close();
    const legacy = await connect(service, {}, 'legacy');
    await expect(legacy.client.subscribeResource({ uri: `${uri}y` })).rejects.toMatchObject({ code: -32602 });
    await legacy.client.subscribeResource({ uri });
    expect(asked).toEqual([uri, uri]);
    await Promise.all([modern.client.close(), legacy.client.close()]);
  });

  it('can be asked for of 1,000 resources at a time, and no more', async () => {
    const { service } = eventful();
    const uris = Array.from({ length: 1001 }, (_unused, index) => `file:///${index}`);
    const modern = await connect(service);
    await expect(modern.client.listen({ resourceSubscriptions: uris })).rejects.toMatchObject({
      message: expect.stringContaining('At most 1000'),
    });
    await modern.client.close();
    const legacy = await connect(service, {}, 'legacy');
    await Promise.all(uris.slice(0, 1000).map((each) => legacy.client.subscribeResource({ uri: each })));
    await expect(legacy.client.subscribeResource({ uri: uris[1000]! })).rejects.toMatchObject({ code: -32602 });
    await legacy.client.unsubscribeResource({ uri: uris[0]! });
    await legacy.client.subscribeResource({ uri: uris[1000]! });
    await legacy.client.close();
  });
});

describe('a subscription to a resource', () => {
  function watched() {
    const signals: (AbortSignal | undefined)[] = [];
    const service: RpcService = {
      info: { name: 'watched', version: '1', capabilities: { resources: { subscribe: true } } },
      events: new ServiceEventEmitter(),
      handler: async ({ method, params }, { subscription }) => {
        if (method === 'resources/subscribe') signals.push(subscription);
        if (params.uri === 'test://none') throw new RpcError('invalid_params', 'Unknown resource');
        return {};
      },
    };
    return { service, signals, ended: () => signals.map((signal) => signal?.aborted) };
  }

  it('tells the service when a modern client ends it, or is gone', async () => {
    const { service, ended } = watched();
    const { client, served } = await connect(service);
    const first = await client.listen({ resourceSubscriptions: ['test://a', 'test://b'] });
    await client.listen({ resourceSubscriptions: ['test://c'] });
    await settle();
    expect(ended()).toEqual([false, false, false]);
    await first.close();
    await settle();
    expect(ended()).toEqual([true, true, false]);
    await client.close();
    await served.close();
    expect(ended()).toEqual([true, true, true]);
  });

  it('is over when one of its resources is refused', async () => {
    const { service, ended } = watched();
    const { client, served } = await connect(service);
    await expect(client.listen({ resourceSubscriptions: ['test://a', 'test://none'] })).rejects.toThrow('Unknown resource');
    expect(ended()).toEqual([true, true]);
    await client.close();
    await served.close();
  });

  it('tells the service when a legacy client ends it, repeats it, is refused, or is gone', async () => {
    const { service, ended } = watched();
    const { client, served } = await connect(service, {}, 'legacy');
    for (const uri of ['test://a', 'test://b', 'test://b']) await client.subscribeResource({ uri });
    await expect(client.subscribeResource({ uri: 'test://none' })).rejects.toThrow('Unknown resource');
    expect(ended()).toEqual([false, true, false, true]);
    await client.unsubscribeResource({ uri: 'test://a' });
    expect(ended()).toEqual([true, true, false, true]);
    await client.close();
    await served.close();
    expect(ended()).toEqual([true, true, true, true]);
  });
});
