import { stateStoreContract } from '@mcp-blocks/core/testing';
import { Cluster, Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { createStateStore } from '../src/index.js';
import { RedisStateStore, type RedisStateStoreOptions } from '../src/redis.js';
import { uniquePrefix } from './harness.js';
import { ask, eventually, kill, PASSWORD, startCluster, startSentinels } from './redis-topologies.js';

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const PATIENCE = { timeout: 300_000 };

it('keeps the contract on a primary that Sentinels name, and goes on with the next one', PATIENCE, async () => {
  const { url, sentinels, primary, replica } = await startSentinels();
  await keepsContract({ url, sentinels });
  const store = await open(() => createStateStore({ provider: 'redis', endpoints: [url], sentinels }));
  const seen: unknown[] = [];
  await store.subscribe('news', (message) => seen.push(message));
  await store.set('kept', 'before');
  await eventually(async () => (await ask(replica, ['GET', 'mcp-blocks:entry:kept'])) === '"before"');

  kill(primary);
  await expect(store.set('lost', 1)).rejects.toMatchObject({ code: 'unavailable' });
  await eventually(() => store.set('kept', 'after'));
  expect(await ask(replica, ['GET', 'mcp-blocks:entry:kept'])).toBe('"after"');
  await eventually(async () => {
    await store.publish('news', 'on the next primary');
    await wait(20);
    return seen.includes('on the next primary');
  });
});

it('leaves a primary that has stepped down', PATIENCE, async () => {
  const { url, sentinels, replica, sentinel } = await startSentinels();
  const store = await open(async () => new RedisStateStore({ url, sentinels }));
  await store.set('key', 1);
  await eventually(async () => (await ask(sentinel, ['SENTINEL', 'FAILOVER', 'main'])) === 'OK');
  await eventually(async () => (await store.set('key', 2)) && (await ask(replica, ['GET', 'mcp-blocks:entry:key'])) === '2');
});

it('keeps the contract on a Cluster, and goes on when a replica takes over', PATIENCE, async () => {
  const { urls, first, replica } = await startCluster();
  await keepsContract({ clusterUrls: urls });
  await leavesOpen(urls[0] as string);
  const store = await open(() => createStateStore({ provider: 'redis-cluster', endpoints: urls }));
  // Keys on every node, so on the one that dies.
  const keys = Array.from({ length: 30 }, (_, index) => `key ${index}`);
  for (const key of keys) await store.increment(key, 1);
  const locks = await Promise.all(keys.map((key) => store.acquireLock(key, 60_000)));
  expect(locks.every((lock) => lock !== undefined)).toBe(true);
  const [written] = (await ask(first, ['INFO', 'replication'])).match(/(?<=master_repl_offset:)\d+/) as RegExpMatchArray;
  await eventually(async () => {
    const [offset] = (await ask(replica, ['INFO', 'replication'])).match(/(?<=slave_repl_offset:)\d+/) as RegExpMatchArray;
    return Number(offset) >= Number(written);
  });

  kill(first);
  await eventually(async () => {
    for (const key of keys) await store.get(key);
    return true;
  });
  const counts = await Promise.all(keys.map((key) => store.increment(key, 1)));
  expect(new Set(counts)).toEqual(new Set([2]));
  expect(await store.acquireLock(keys[0] as string, 60_000)).toBeUndefined();
});

it.each<RedisStateStoreOptions>([
  { url: 'redis://main', sentinels: ['redis://127.0.0.1:9'], timeoutMs: 300 },
  { clusterUrls: ['redis://127.0.0.1:9', 'redis://127.0.0.1:10'], timeoutMs: 300 },
])('fails with unavailable where nobody answers, and closes: %j', async (options) => {
  const store = new RedisStateStore(options);
  for (let i = 0; i < 2; i += 1) await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(store.subscribe('news', () => {})).rejects.toMatchObject({ code: 'unavailable' });
  await store.close();
  await new RedisStateStore(options).close();
});

it.each<[RedisStateStoreOptions, string]>([
  [{ url: 'redis://h', clusterUrls: ['redis://h'] }, 'url'],
  [{ url: 'redis://h', client: new Redis({ lazyConnect: true }) }, 'url'],
  [{ sentinels: ['redis://h'] }, 'url'],
  [{ clusterUrls: ['redis://h'], sentinels: ['redis://h'] }, 'url'],
  [{ url: 'redis://h', sentinels: [] }, 'sentinels'],
  [{ url: 'redis://h', sentinels: ['redis://h', 'h:26379'] }, 'sentinels[1]'],
  [{ url: 'redis://h', sentinels: ['redis://h/main'] }, 'sentinels[0]'],
  [{ url: 'redis://h/main', sentinels: ['redis://h'] }, 'url'],
  [{ clusterUrls: [] }, 'clusterUrls'],
  [{ clusterUrls: ['redis://:secret@h', 'redis://:other@h'] }, 'clusterUrls[1]'],
  [{ clusterUrls: ['redis://h', 'rediss://h'] }, 'clusterUrls[1]'],
  [{ clusterUrls: ['redis://:secret@h/1'] }, 'clusterUrls[0]'],
])('names a wrong option, and no password: %#', (options, option) => {
  expect(() => new RedisStateStore(options)).toThrow(
    expect.objectContaining({ name: 'ConfigurationError', option, message: expect.not.stringContaining('secret') }),
  );
});

/** A client of the owner is used and left open. */
async function leavesOpen(url: string): Promise<void> {
  const redisOptions = { password: PASSWORD };
  const client = new Cluster([{ host: '127.0.0.1', port: Number(new URL(url).port) }], { redisOptions, retryDelayOnFailover: 0 });
  const store = new RedisStateStore({ client });
  expect(await store.increment('owned', 2)).toBe(2);
  await store.close();
  expect(await client.get('mcp-blocks:entry:owned')).toBe('2');
  await client.quit();
}

async function keepsContract(place: RedisStateStoreOptions): Promise<void> {
  const broken: string[] = [];
  const cases = stateStoreContract.values();
  // A few at a time: lifetimes have to be waited for, and do not wait for us.
  const lane = async () => {
    for (const { name, run } of cases) {
      const options = { ...place, keyPrefix: uniquePrefix() };
      const create = async () => ({ store: new RedisStateStore(options), peer: new RedisStateStore(options) });
      await run({ create, advance: wait }).catch((error: unknown) => broken.push(`${name}: ${error}`));
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  expect(broken).toEqual([]);
}

async function open<T extends { close(): Promise<void> }>(make: () => Promise<T>): Promise<T> {
  const store = await make();
  onTestFinished(() => store.close());
  return store;
}
