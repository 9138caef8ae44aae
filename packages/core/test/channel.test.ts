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
  it('holds back what exceeds it and pauses the wire until there is room', async () => {
    const { service, running } = slowService();
    const { client, served, wire } = await connect(service, { maxInFlight: 2 });
    const calls = [1, 2, 3].map(() => client.callTool({ name: 'x' }));
    await settle();
    expect(running).toHaveLength(2);
    expect(served.inFlight).toBe(2);
    expect(wire.pause).toHaveBeenCalled();
    running[0]?.release();
    await settle();
    expect(running).toHaveLength(3);
    expect(wire.resume).toHaveBeenCalled();
    for (const { release } of running) release();
    await Promise.all(calls);
    await served.idle();
    expect(served.inFlight).toBe(0);
    await client.close();
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
});
