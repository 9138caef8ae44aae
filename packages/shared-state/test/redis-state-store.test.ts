import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { stateStoreContract } from '@mcp-blocks/core/testing';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RedisStateStore, type RedisStateStoreOptions } from '../src/redis.js';
import { contend, redisUrl, uniquePrefix } from './harness.js';

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

describe('the Redis store, two on one server', () => {
  for (const { name, run } of stateStoreContract) {
    // At once, since lifetimes have to be waited for.
    it.concurrent(name, () =>
      run({
        create: async () => {
          const options = { url: redisUrl(), keyPrefix: uniquePrefix() };
          return { store: new RedisStateStore(options), peer: new RedisStateStore(options) };
        },
        advance: wait,
      }),
    );
  }
});

it('keeps two processes apart', async () => {
  const keyPrefix = uniquePrefix();
  const store = new RedisStateStore({ url: redisUrl(), keyPrefix });
  await contend(store, 'redis', redisUrl(), keyPrefix);
  await store.close();
});

describe('with a client of the owner', () => {
  it('uses it and leaves it open', async () => {
    const client = new Redis(redisUrl());
    const store = new RedisStateStore({ client, keyPrefix: uniquePrefix() });
    const seen: unknown[] = [];
    await store.subscribe('news', (message) => seen.push(message));
    await store.set('key', 1);
    await store.publish('news', 1);
    for (let i = 0; i < 200 && seen.length === 0; i += 1) await wait(10);
    expect(seen).toEqual([1]);
    await store.close();
    expect(await client.ping()).toBe('PONG');
    await client.quit();
  });

  it('refuses one with a prefix of its own', () => {
    const client = new Redis(redisUrl(), { keyPrefix: 'x:', lazyConnect: true });
    expect(() => new RedisStateStore({ client })).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'client' }));
    client.disconnect();
  });
});

describe('when the connection is lost', () => {
  it('a call without any server fails at once with unavailable', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    const errors: Error[] = [];
    const store = new RedisStateStore({ url: `redis://127.0.0.1:${port}`, timeoutMs: 60_000, onError: (error) => errors.push(error) });
    await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.subscribe('news', () => {})).rejects.toMatchObject({ code: 'unavailable' });
    expect(errors.length).toBeGreaterThan(0);
    await store.close();
  });

  it('calls fail with unavailable while it is gone, nothing is sent later, and it comes back by itself', async () => {
    const proxy = await startProxy();
    const keyPrefix = uniquePrefix();
    const store = new RedisStateStore({ url: proxy.url, keyPrefix });
    const direct = new RedisStateStore({ url: redisUrl(), keyPrefix });
    const seen: unknown[] = [];
    await store.subscribe('news', (message) => seen.push(message));
    expect(await store.increment('count', 1)).toBe(1);
    await proxy.down();
    for (let i = 0; i < 3; i += 1) await expect(store.increment('count', 1)).rejects.toMatchObject({ code: 'unavailable' });
    await proxy.up();
    await eventually(async () => expect(await store.get('count')).toBe(1));
    expect(await store.increment('count', 1)).toBe(2);
    // The subscription is back too.
    await eventually(async () => {
      await direct.publish('news', 'back');
      await wait(20);
      expect(seen).toContain('back');
    });
    await store.close();
    await direct.close();
  });

  it('a server that answers nothing is given up after timeoutMs, and used again when it answers', async () => {
    const proxy = await startProxy();
    const store = new RedisStateStore({ url: proxy.url, keyPrefix: uniquePrefix(), timeoutMs: 300 });
    await store.set('key', 1);
    proxy.freeze(true);
    const start = performance.now();
    await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
    expect(performance.now() - start).toBeGreaterThanOrEqual(250);
    await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
    proxy.freeze(false);
    await eventually(async () => expect(await store.get('key')).toBe(1));
    await store.close();
  });

  it('close ends a store that cannot connect, and one that never did', async () => {
    const proxy = await startProxy();
    const never = new RedisStateStore({ url: proxy.url });
    await never.close();
    const store = new RedisStateStore({ url: proxy.url });
    await store.get('key');
    await store.subscribe('news', () => {});
    await proxy.down();
    await store.close();
    expect(proxy.connections).toBe(0);
  });
});

it('close leaves no connection behind', async () => {
  const proxy = await startProxy();
  const store = new RedisStateStore({ url: proxy.url, keyPrefix: uniquePrefix() });
  await store.subscribe('news', () => {});
  await store.get('key');
  expect(proxy.connections).toBe(2);
  await store.close();
  await eventually(async () => expect(proxy.connections).toBe(0));
});

it('a channel nobody listens on any more is left', async () => {
  const keyPrefix = uniquePrefix();
  const store = new RedisStateStore({ url: redisUrl(), keyPrefix });
  const admin = new Redis(redisUrl());
  const stops = [await store.subscribe('news', () => {}), await store.subscribe('news', () => {})];
  expect(await admin.pubsub('CHANNELS', `${keyPrefix}*`)).toEqual([`${keyPrefix}channel:news`]);
  await Promise.all(stops.map((stop) => stop()));
  await eventually(async () => expect(await admin.pubsub('CHANNELS', `${keyPrefix}*`)).toEqual([]));
  await admin.quit();
  await store.close();
});

it('scripts survive a server that forgot them', async () => {
  const store = new RedisStateStore({ url: redisUrl(), keyPrefix: uniquePrefix() });
  const admin = new Redis(redisUrl());
  await store.increment('count', 1);
  await admin.script('FLUSH');
  expect(await store.increment('count', 1)).toBe(2);
  await admin.quit();
  await store.close();
});

it.each<[options: RedisStateStoreOptions, option: string]>([
  [{}, 'url'],
  [{ url: 'http://127.0.0.1:6379' }, 'url'],
  [{ url: 'not a url' }, 'url'],
  [{ url: 'redis://127.0.0.1', timeoutMs: 0 }, 'timeoutMs'],
])('names a wrong option: %j', (options, option) => {
  expect(() => new RedisStateStore(options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
});

it('does not print a password', () => {
  expect(() => new RedisStateStore({ url: 'http://user:hunter2@127.0.0.1' })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
  );
});

async function eventually(check: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await check();
    } catch (error) {
      if (attempt === 100) throw error;
      await wait(50);
    }
  }
}

/** Stands between the store and the real server, so that the connection can be lost. */
async function startProxy() {
  const target = new URL(redisUrl());
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((inner) => {
    const outer = connect(Number(target.port), target.hostname);
    sockets.add(inner);
    const drop = () => {
      sockets.delete(inner);
      inner.destroy();
      outer.destroy();
    };
    for (const socket of [inner, outer]) socket.on('error', drop).on('close', drop);
    inner.on('data', (data) => outer.write(data));
    outer.on('data', (data) => {
      if (!frozen) inner.write(data);
    });
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const down = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const port = await listen(0);
  onTestFinished(async () => {
    if (server.listening) await down();
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    down,
    up: () => listen(port),
    freeze: (on: boolean) => {
      frozen = on;
    },
    get connections() {
      return sockets.size;
    },
  };
}
