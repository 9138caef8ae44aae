import type { ServiceEvent } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import type { ResourceChange } from '../src/index.js';
import { connectTo, startServer } from './real-server.js';
import { benches, settle, TestService } from './support.js';

const bench = benches();
const updated = (uri: string): ServiceEvent => ({ kind: 'resource_updated', uri });

describe.each(['modern', 'legacy'] as const)('a subscription to a resource in the %s era', (versionNegotiation) => {
  it('tells its listeners of the changes of that resource, until they end it', async () => {
    const { client, service } = bench({ versionNegotiation });
    const heard: ResourceChange[] = [];
    const other: ResourceChange[] = [];
    const stop = await client.subscribe('test://a', (change) => heard.push(change));
    await client.subscribe('test://a', (change) => other.push(change));
    service.events.publish(updated('test://a'));
    service.events.publish(updated('test://b'));
    await settle();
    expect(heard).toEqual([{ uri: 'test://a', missed: false }]);
    await stop();
    service.events.publish(updated('test://a'));
    await settle();
    expect([heard.length, other.length]).toEqual([1, 2]);
    await client.unsubscribe('test://a');
    service.events.publish(updated('test://a'));
    await settle();
    expect(other).toHaveLength(2);
  });

  it('goes on over the next connection, and says that changes may have been missed', async () => {
    const { client, service, webSocket } = bench({ versionNegotiation });
    const heard: ResourceChange[] = [];
    for (const uri of ['test://a', 'test://b']) await client.subscribe(uri, (change) => heard.push(change));
    expect(heard).toEqual([]);
    await webSocket.cut(true);
    await settle();
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'http' });
    expect(heard.splice(0)).toEqual([
      { uri: 'test://a', missed: true },
      { uri: 'test://b', missed: true },
    ]);
    service.events.publish(updated('test://b'));
    await settle();
    expect(heard).toEqual([{ uri: 'test://b', missed: false }]);
  });

  it('that the server refuses fails, and leaves the others as they were', async () => {
    const { client, service } = bench({ versionNegotiation });
    const heard: ResourceChange[] = [];
    await client.subscribe('test://a', (change) => heard.push(change));
    await expect(client.subscribe('test://secret', () => {})).rejects.toMatchObject({ code: 'forbidden' });
    service.events.publish(updated('test://a'));
    await settle();
    expect(heard).toEqual([{ uri: 'test://a', missed: false }]);
  });

  it('is not disturbed by a listener that throws', async () => {
    const errors: Error[] = [];
    const { client, service } = bench({ versionNegotiation, onError: (error) => errors.push(error) });
    const heard: ResourceChange[] = [];
    await client.subscribe('test://a', () => {
      throw new Error('a listener of its own kind');
    });
    await client.subscribe('test://a', (change) => heard.push(change));
    service.events.publish(updated('test://a'));
    await settle();
    expect(heard).toHaveLength(1);
    expect(errors.map(({ message }) => message)).toEqual(['a listener of its own kind']);
  });

  it('fails when the client gives up or is closed', async () => {
    const { client, webSocket, http } = bench({ versionNegotiation, enableReconnection: false });
    webSocket.up = http.up = false;
    await expect(client.subscribe('test://a', () => {})).rejects.toMatchObject({ code: 'unavailable' });
    await client.close();
    await expect(client.subscribe('test://a', () => {})).rejects.toMatchObject({ code: 'cancelled' });
  });
});

it('completions are asked for with their context', async () => {
  const { client, service } = bench();
  const ref = { type: 'ref/prompt', name: 'p' } as const;
  await client.complete(ref, { name: 'city', value: 'Be' }, { context: { arguments: { country: 'DE' } } }).catch(() => {});
  expect(service.received.at(-1)).toMatchObject({
    method: 'completion/complete',
    params: { ref, argument: { name: 'city', value: 'Be' }, context: { arguments: { country: 'DE' } } },
  });
});

it.each(['auto', 'legacy'] as const)(
  'a subscription on real sockets falls back to HTTP and comes back with the WebSocket (%s)',
  async (versionNegotiation) => {
    const service = new TestService();
    const { httpDoor, webSocketDoor, stop } = await startServer(service);
    const client = connectTo({ http: httpDoor.port, webSocket: webSocketDoor.port }, { versionNegotiation });
    const heard: ResourceChange[] = [];
    let told = Promise.withResolvers<void>();
    const next = async () => {
      await told.promise;
      told = Promise.withResolvers();
      return heard.splice(0);
    };
    try {
      await client.subscribe('test://a', (change) => {
        heard.push(change);
        told.resolve();
      });
      for (const move of [() => webSocketDoor.shut(), () => webSocketDoor.open()]) {
        service.events.publish(updated('test://a'));
        expect(await next()).toEqual([{ uri: 'test://a', missed: false }]);
        await move();
        expect(await next()).toEqual([{ uri: 'test://a', missed: true }]);
      }
    } finally {
      await client.close();
      await stop();
    }
    expect(service.events.listenerCount).toBe(0);
  },
);

describe.each(['modern', 'legacy'] as const)('events of change in the %s era', (versionNegotiation) => {
  const LISTS = [
    ['toolsChanged', 'tools_list_changed', 'listTools'],
    ['promptsChanged', 'prompts_list_changed', 'listPrompts'],
    ['resourcesChanged', 'resources_list_changed', 'listResources'],
  ] as const;

  it.each(LISTS)('%s comes with the notification, the cache without the list already', async (event, kind, list) => {
    const { client, service } = bench({ versionNegotiation });
    service.ttlMs = 60_000;
    await client[list]();
    const heard: object[] = [];
    const others: string[] = [];
    for (const [other] of LISTS) client.on(other, () => others.push(other));
    const stop = client.on(event, (change) => heard.push({ ...change, held: client.getCacheStats().size }));
    service.events.publish({ kind });
    await settle();
    expect([heard, others]).toEqual([[{ missed: false, held: 0 }], [event]]);
    stop();
    service.events.publish({ kind });
    await settle();
    expect(heard).toHaveLength(1);
  });

  it.each(LISTS)('%s says after a reconnection that a change may have been missed', async (event) => {
    const { client, webSocket } = bench({ versionNegotiation });
    const heard: object[] = [];
    client.on(event, (change) => heard.push(change));
    await client.connect();
    await settle();
    expect(heard).toEqual([]);
    await webSocket.cut();
    expect(heard).toEqual([{ missed: true }]);
  });

  it('resourceUpdated comes for every resource subscribed to', async () => {
    const { client, service, webSocket } = bench({ versionNegotiation });
    const heard: ResourceChange[] = [];
    client.on('resourceUpdated', (change) => heard.push(change));
    for (const uri of ['test://a', 'test://b']) await client.subscribe(uri, () => {});
    for (const uri of ['test://b', 'test://c', 'test://a']) service.events.publish(updated(uri));
    await settle();
    expect(heard.splice(0)).toEqual([
      { uri: 'test://b', missed: false },
      { uri: 'test://a', missed: false },
    ]);
    await webSocket.cut();
    expect(heard).toEqual([
      { uri: 'test://a', missed: true },
      { uri: 'test://b', missed: true },
    ]);
  });
});

it('a gap in a modern subscription to changes is told as one', async () => {
  const { client, clock, webSocket } = bench({ versionNegotiation: 'modern' });
  const heard: object[] = [];
  client.on('toolsChanged', (change) => heard.push(change));
  await client.connect();
  await webSocket.send({ jsonrpc: '2.0', id: 'listen:0', result: { resultType: 'complete' } } as never);
  await settle();
  expect(heard).toEqual([]);
  await clock.advance(500);
  expect(heard).toEqual([{ missed: true }]);
});
