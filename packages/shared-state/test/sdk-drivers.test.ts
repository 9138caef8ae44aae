import { MemoryStateStore, type StateStore } from '@mcp-blocks/core';
import { StateEventStore, StateResponseCacheStore, StateServerEventBus } from '@mcp-blocks/core/sdk';
import { Client, InMemoryResponseCacheStore, type ResponseCacheStore, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createMcpHandler, InMemoryServerEventBus, McpServer, type ServerEvent, type ServerEventBus } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it } from 'vitest';
import { RedisStateStore } from '../src/redis.js';
import { SqliteStateStore } from '../src/sqlite.js';
import { gated } from './gated-store.js';
import { redisUrl, temporaryFile, uniquePrefix } from './harness.js';

/** Patience for what another process is told; it ends as soon as it is. */
const PATIENCE = { timeout: 30_000 };

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function opened<T extends StateStore>(store: T): T {
  open.push(() => store.close());
  return store;
}

/** Two clients of one backend. */
const stores: Record<string, () => [StateStore, StateStore]> = {
  memory: () => {
    const store = opened(new MemoryStateStore());
    return [store, store];
  },
  sqlite: () => {
    const path = temporaryFile();
    return [opened(new SqliteStateStore({ path })), opened(new SqliteStateStore({ path }))];
  },
  redis: () => {
    const options = { url: redisUrl(), keyPrefix: uniquePrefix() };
    return [opened(new RedisStateStore(options)), opened(new RedisStateStore(options))];
  },
};

interface Bus extends ServerEventBus {
  ready?(): Promise<void>;
}

const buses: Record<string, () => [Bus, Bus]> = {
  "the SDK's own": () => {
    const bus = new InMemoryServerEventBus();
    return [bus, bus];
  },
  ...Object.fromEntries(
    Object.entries(stores).map(([name, make]) => [
      name,
      () => {
        const [one, other] = make().map((store) => {
          const bus = new StateServerEventBus(store, { key: 'events' });
          open.push(() => bus.close());
          return bus;
        });
        return [one!, other!] as [Bus, Bus];
      },
    ]),
  ),
};

const updated = (uri: string): ServerEvent => ({ kind: 'resource_updated', uri });

describe.each(Object.entries(buses))('the event bus on %s', (_name, make) => {
  it('tells every listener in both processes, in order, once', async () => {
    const [one, other] = make();
    const heard: ServerEvent[][] = [[], []];
    one.subscribe((event) => heard[0]!.push(event));
    other.subscribe((event) => heard[1]!.push(event));
    await Promise.all([one.ready?.(), other.ready?.()]);
    const events: ServerEvent[] = [
      { kind: 'tools_list_changed' },
      { kind: 'prompts_list_changed', params: { _meta: { a: 1 } } },
      { kind: 'resources_list_changed' },
      ...Array.from({ length: 20 }, (_, n) => updated(`x:${n}`)),
    ];
    for (const event of events) one.publish(event);
    expect(heard[0]).toEqual(events);
    await expect.poll(() => heard[1], PATIENCE).toEqual(events);
    other.publish(updated('back'));
    await expect.poll(() => heard[0], PATIENCE).toEqual([...events, updated('back')]);
    expect(heard[1]).toEqual(heard[0]);
  });

  it('a listener that throws or leaves harms no other', async () => {
    const [one, other] = make();
    const heard: string[] = [];
    one.subscribe(() => {
      throw new Error('broken');
    });
    const leave = one.subscribe(() => heard.push('left'));
    one.subscribe(() => heard.push('here'));
    other.subscribe(() => heard.push('there'));
    await Promise.all([one.ready?.(), other.ready?.()]);
    leave();
    leave();
    one.publish(updated('x:1'));
    await expect.poll(() => heard.sort(), PATIENCE).toEqual(['here', 'there']);
  });

  it("an SDK server's subscribers hear of what another process changed", async () => {
    const [one, other] = make();
    const handler = createMcpHandler(
      () => {
        const server = new McpServer({ name: 's', version: '1' }, { capabilities: { tools: { listChanged: true } } });
        server.registerTool('t', {}, async () => ({ content: [] }));
        return server;
      },
      { bus: other },
    );
    open.push(() => handler.close());
    const fetch = (url: string | URL, init?: RequestInit) => handler.fetch(new Request(url, init));
    const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
    open.push(() => client.close());
    const changes: string[] = [];
    client.setNotificationHandler('notifications/tools/list_changed', () => void changes.push('tools'));
    await client.listen({ toolsListChanged: true });
    await other.ready?.();
    one.publish({ kind: 'tools_list_changed' });
    await expect.poll(() => changes, PATIENCE).toEqual(['tools']);
  });
});

it('the event bus: without the store, the process itself is told, and someone hears why', async () => {
  const store = gated(opened(new MemoryStateStore()));
  const errors: string[] = [];
  const bus = new StateServerEventBus(store, { key: 'events', onError: ({ message }) => errors.push(message) });
  const heard: ServerEvent[] = [];
  store.cut();
  bus.subscribe((event) => heard.push(event));
  await expect(bus.ready()).rejects.toMatchObject({ code: 'unavailable' });
  bus.publish(updated('x:1'));
  expect(heard).toEqual([updated('x:1')]);
  await expect.poll(() => errors, PATIENCE).toHaveLength(2);
  store.mend();
  await bus.ready();
  await store.publish('events', { origin: 'elsewhere', event: { kind: 'resource_updated', uri: 'x:2' } });
  for (const junk of [null, 1, { event: {} }, { origin: 'elsewhere', event: { kind: 'junk' } }]) await store.publish('events', junk);
  await expect.poll(() => heard, PATIENCE).toEqual([updated('x:1'), updated('x:2')]);
  await bus.close();
  await bus.close();
  bus.publish(updated('x:3'));
  await store.publish('events', { origin: 'elsewhere', event: { kind: 'resource_updated', uri: 'x:4' } });
  expect(heard).toHaveLength(2);
});

const caches: Record<string, () => [ResponseCacheStore, ResponseCacheStore]> = {
  "the SDK's own": () => {
    const cache = new InMemoryResponseCacheStore();
    return [cache, cache];
  },
  ...Object.fromEntries(
    Object.entries(stores).map(([name, make]) => [
      name,
      () =>
        make().map((store) => new StateResponseCacheStore(store, { key: 'cache' })) as unknown as [ResponseCacheStore, ResponseCacheStore],
    ]),
  ),
};

describe.each(Object.entries(caches))('the response cache on %s', (_name, make) => {
  const list = { method: 'tools/list', partition: 'p' };

  it('gives back what was kept, to every client, with a stamp that grows', async () => {
    const [one, other] = make();
    expect(await one.get(list)).toBeUndefined();
    const stamp = await one.set(list, { value: '{"tools":[]}', expiresAt: 5, scope: 'public' });
    expect(await other.get(list)).toEqual({ value: '{"tools":[]}', stamp, expiresAt: 5, scope: 'public' });
    const next = await other.set(list, { value: 'ü"' });
    expect(next).toBeGreaterThan(stamp);
    const kept = await one.get(list);
    expect([kept?.value, kept?.stamp, kept?.expiresAt, kept?.scope]).toEqual(['ü"', next, undefined, undefined]);
  });

  it('tells methods, parameters and partitions apart', async () => {
    const [one, other] = make();
    const keys = [
      { method: 'resources/read', params: 'a' },
      { method: 'resources/read', params: 'b' },
      { method: 'resources/read', params: 'a', partition: 'p' },
      { method: 'resources/read', params: 'a","p' },
      { method: 'resources/list', params: 'a' },
    ];
    for (const [n, key] of keys.entries()) await one.set(key, { value: String(n) });
    for (const [n, key] of keys.entries()) expect((await other.get(key))?.value).toBe(String(n));
    expect((await one.get({ ...keys[0]!, partition: '' }))?.value).toBe('0');
  });

  it('forgets one, all of a method, or everything, for every client', async () => {
    const [one, other] = make();
    const reads = ['a', 'b'].map((params) => ({ method: 'resources/read', params }));
    for (const key of [list, ...reads]) await one.set(key, { value: 'x' });
    await other.delete(reads[0]!);
    await other.delete(reads[0]!);
    expect(await one.get(reads[0]!)).toBeUndefined();
    expect(await one.get(reads[1]!)).toBeDefined();
    await other.evict('resources/read');
    expect(await one.get(reads[1]!)).toBeUndefined();
    expect(await one.get(list)).toBeDefined();
    await other.clear();
    expect(await one.get(list)).toBeUndefined();
    await one.set(list, { value: 'new' });
    expect((await other.get(list))?.value).toBe('new');
  });

  it("spares an SDK client what another process's client has asked, until the list changes", async () => {
    const [one, other] = make();
    let lists = 0;
    const handler = createMcpHandler(() => {
      lists += 1;
      const server = new McpServer(
        { name: 's', version: '1' },
        { cacheHints: { 'tools/list': { ttlMs: 3_600_000, cacheScope: 'private' } } },
      );
      server.registerTool('t', {}, async () => ({ content: [] }));
      return server;
    });
    open.push(() => handler.close());
    const connect = async (responseCacheStore: ResponseCacheStore, cachePartition: string) => {
      const fetch = (url: string | URL, init?: RequestInit) => handler.fetch(new Request(url, init));
      const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode: 'auto' }, responseCacheStore, cachePartition });
      await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
      open.push(() => client.close());
      lists = 0;
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual(['t']);
      return lists;
    };
    expect(await connect(one, 'alice')).toBe(1);
    expect(await connect(other, 'alice')).toBe(0);
    expect(await connect(other, 'bob')).toBe(1);
  });
});

describe('the response cache', () => {
  it('finds and keeps nothing without the store, and does not find what was to be forgotten meanwhile', async () => {
    const store = gated(opened(new MemoryStateStore()));
    const errors: unknown[] = [];
    const cache = new StateResponseCacheStore(store, { key: 'cache', onError: (error) => errors.push(error) });
    const [list, read] = [{ method: 'tools/list' }, { method: 'resources/read', params: 'a' }];
    await cache.set(list, { value: 'old' });
    await cache.set(read, { value: 'kept' });
    store.cut();
    expect(await cache.get(list)).toBeUndefined();
    expect(await cache.set(list, { value: 'new' })).not.toBe(await cache.set(list, { value: 'new' }));
    await cache.delete(list);
    await expect(cache.clear()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(cache.evict('tools/list')).rejects.toMatchObject({ code: 'unavailable' });
    expect(errors).toHaveLength(4);
    store.mend();
    expect(await cache.get(list)).toBeUndefined();
    expect((await cache.get(read))?.value).toBe('kept');
    await cache.set(list, { value: 'newer' });
    expect((await cache.get(list))?.value).toBe('newer');
  });

  it('does not keep what is too large, nor what was there before', async () => {
    const cache = new StateResponseCacheStore(opened(new MemoryStateStore()), { key: 'cache', maxEntryBytes: 4 });
    const key = { method: 'tools/list' };
    await cache.set(key, { value: '1234' });
    expect(await cache.get(key)).toBeDefined();
    expect(await cache.set(key, { value: 'ü234' })).toBeGreaterThan(0);
    expect(await cache.get(key)).toBeUndefined();
  });

  it.each(['ttlMs', 'maxEntryBytes'])('names a wrong %s', (option) => {
    expect(() => new StateResponseCacheStore(new MemoryStateStore(), { key: 'cache', [option]: 0 })).toThrow(
      expect.objectContaining({ name: 'ConfigurationError', option }),
    );
  });
});

describe.each(Object.entries(stores))('the event store on %s', (_name, make) => {
  it('another process resumes a stream after any of its events, and sees no other stream', async () => {
    const [one, other] = make().map((store) => new StateEventStore(store, { key: 'session', ttlMs: 600_000 }));
    const message = (n: number) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { n } }) as const;
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) ids.push(await one!.storeEvent(n % 2 === 0 ? 'even' : 'odd', message(n)));
    expect(await other!.getStreamIdForEventId(ids[2]!)).toBe('even');
    const replayed: unknown[] = [];
    const stream = await other!.replayEventsAfter(ids[0]!, { send: async (id, sent) => void replayed.push([id, sent]) });
    expect(stream).toBe('even');
    expect(replayed).toEqual([
      [ids[2], message(2)],
      [ids[4], message(4)],
    ]);
    await one!.clear();
    expect(await other!.getStreamIdForEventId(ids[2]!)).toBeUndefined();
  });
});
