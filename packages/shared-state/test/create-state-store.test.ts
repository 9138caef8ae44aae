import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { StateStore } from '@mcp-blocks/core';
import { expect, it } from 'vitest';
import { createStateStore, MemoryStateStore, type StateStoreConfig } from '../src/index.js';
import { RedisStateStore } from '../src/redis.js';
import { SqliteStateStore } from '../src/sqlite.js';
import { hook, redisUrl, temporaryFile } from './harness.js';

it.each<[config: () => StateStoreConfig, type: new (...args: never[]) => StateStore]>([
  [() => ({ provider: 'memory' }), MemoryStateStore],
  [() => ({ provider: 'sqlite', endpoints: [temporaryFile()] }), SqliteStateStore],
  [() => ({ provider: 'sqlite', endpoints: [pathToFileURL(temporaryFile()).href] }), SqliteStateStore],
  [() => ({ provider: 'redis', endpoints: [redisUrl()] }), RedisStateStore],
])('makes the store that is asked for (%#)', async (config, type) => {
  const store = await createStateStore(config());
  expect(store).toBeInstanceOf(type);
  const key = `create-state-store ${process.pid}`;
  await store.set(key, 1, { ttlMs: 5_000 });
  expect(await store.get(key)).toBe(1);
  await store.close();
});

it.each<[config: object, option: string, message: RegExp]>([
  [{ provider: 'etcd' }, 'provider', /got 'etcd'/],
  [{ provider: 'hazelcast' }, 'endpoints', /one or more.*got 0/],
  [{ provider: 'hazelcast', endpoints: ['redis://a'] }, 'urls[0]', /hazelcast:\/\//],
  [{}, 'provider', /'memory', 'sqlite', 'redis', 'redis-cluster' or 'hazelcast'/],
  [{ provider: 'memory', endpoints: ['x'] }, 'endpoints', /none/],
  [{ provider: 'sqlite' }, 'endpoints', /one.*got 0/],
  [{ provider: 'redis', endpoints: ['redis://a', 'redis://b'] }, 'endpoints', /one.*got 2/],
  [{ provider: 'redis-cluster' }, 'endpoints', /one or more.*got 0/],
  [{ provider: 'redis-cluster', endpoints: ['a:6379'] }, 'clusterUrls[0]', /redis:\/\//],
  [{ provider: 'redis-cluster', endpoints: ['redis://a'], sentinels: ['redis://b'] }, 'sentinels', /'redis' only/],
  [{ provider: 'redis', endpoints: ['a:6379'] }, 'url', /redis:\/\//],
])('names what is wrong with %j', async (config, option, message) => {
  await expect(createStateStore(config as StateStoreConfig)).rejects.toMatchObject({
    name: 'ConfigurationError',
    option,
    message: expect.stringMatching(message),
  });
});

/** Runs a program in a process of its own; with `withoutRedis` the package ioredis is not to be found. */
function run(program: string, withoutRedis: boolean): Promise<string> {
  const file = temporaryFile('program.ts');
  const index = new URL('../src/index.ts', import.meta.url).href;
  const hide = temporaryFile('hide.mjs');
  writeFileSync(
    hide,
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve(name, context, next) {
       if (name === 'ioredis') throw Object.assign(new Error('not installed'), { code: 'ERR_MODULE_NOT_FOUND' });
       return next(name, context);
     } });`,
  );
  writeFileSync(file, program.replaceAll("'@mcp-blocks/shared-state'", `'${index}'`));
  const imports = ['--import', hook, ...(withoutRedis ? ['--import', pathToFileURL(hide).href] : [])];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--conditions=@mcp-blocks/source', ...imports, file], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
}

it('needs ioredis for Redis only, and says so', async () => {
  const program = `
    import { createStateStore } from '@mcp-blocks/shared-state';
    await (await createStateStore({ provider: 'memory' })).close();
    await (await createStateStore({ provider: 'sqlite', endpoints: [':memory:'] })).close();
    await createStateStore({ provider: 'redis', endpoints: ['redis://127.0.0.1'] }).catch((error) => console.log(error.name, error.message));
  `;
  expect(await run(program, true)).toBe("ConfigurationError provider: 'redis' needs the package ioredis: npm install ioredis\n");
});

it('the example of the README does what it says', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const example = /By itself:\n\n```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? expect.fail('no example');
  expect(await run(example.replace("'state.sqlite'", `'${temporaryFile()}'`), true)).toBe('visits: 1\nbusy elsewhere: false\n');
});
