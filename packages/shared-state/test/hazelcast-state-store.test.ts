import { ManualClock, stateStoreContract } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HazelcastStateStore, type HazelcastStateStoreOptions } from '../src/hazelcast.js';
import { createStateStore } from '../src/index.js';
import { uniquePrefix } from './harness.js';
import { startHazelcastStandIn } from './hazelcast-stand-in.js';

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const REAL = process.env['MCP_BLOCKS_HAZELCAST_URL'];

describe(`the Hazelcast store, ${REAL === undefined ? 'on a stand-in for a member' : 'on a real cluster'}`, () => {
  for (const { name, run } of stateStoreContract) {
    it(name, { timeout: 60_000 }, async () => {
      const urls = [REAL ?? (await startHazelcastStandIn()).url];
      const clock = new ManualClock();
      await run({
        create: async () => {
          const options = { urls, keyPrefix: uniquePrefix(), clock, timeoutMs: 20_000 };
          return { store: new HazelcastStateStore(options), peer: new HazelcastStateStore(options) };
        },
        // Messages take real time.
        advance: async (ms) => {
          await clock.advance(ms);
          await wait(5);
        },
      });
    });
  }
});

it('is what a configuration names', async () => {
  const { url } = await startHazelcastStandIn({ password: 'correct horse' });
  const endpoint = url.replace('//', '//user:correct%20horse@');
  const store = await createStateStore({ provider: 'hazelcast', endpoints: [endpoint] });
  expect(await store.increment('count', 2)).toBe(2);
  await store.close();
});

it('fails with unavailable without a member, and with a wrong password, which it does not tell', async () => {
  const member = await startHazelcastStandIn({ password: 'secret' });
  const errors: Error[] = [];
  const store = open({ urls: [member.url.replace('//', '//user:wrong@')], timeoutMs: 500, onError: (error) => errors.push(error) });
  await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  expect(errors.length).toBeGreaterThan(0);
  expect(errors.map(String).join()).not.toContain('wrong@');
  await member.down();
  await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(store.subscribe('news', () => {})).rejects.toMatchObject({ code: 'unavailable' });
});

it('goes on by itself, subscriptions too, when the member is back', { timeout: 60_000 }, async () => {
  const member = await startHazelcastStandIn();
  const store = open({ urls: [member.url], timeoutMs: 1_000 });
  const seen: unknown[] = [];
  await store.subscribe('news', (message) => seen.push(message));
  await store.publish('news', 1);
  await until(() => seen.length === 1);
  await member.down();
  await expect(store.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  await member.up();
  await until(() => store.set('key', 1).catch(() => false));
  await until(async () => {
    await store.publish('news', 2).catch(() => {});
    return seen.includes(2);
  });
});

it('close leaves no connection behind, however it stands', async () => {
  const member = await startHazelcastStandIn();
  const store = new HazelcastStateStore({ urls: [member.url] });
  await store.subscribe('news', () => {});
  expect(member.connections).toBe(1);
  await store.close();
  await until(() => member.connections === 0);
  await expect(store.get('key')).rejects.toMatchObject({ code: 'internal_error' });
  await new HazelcastStateStore({ urls: [member.url] }).close();
  await member.down();
  const lost = new HazelcastStateStore({ urls: [member.url], timeoutMs: 100 });
  await expect(lost.get('key')).rejects.toMatchObject({ code: 'unavailable' });
  await lost.close();
});

it.each<[HazelcastStateStoreOptions, string]>([
  [{ urls: [] }, 'urls'],
  [{ urls: ['10.0.0.1:5701'] }, 'urls[0]'],
  [{ urls: ['redis://secret@h'] }, 'urls[0]'],
  [{ urls: ['hazelcast://h/a', 'hazelcast://h/b'] }, 'urls[1]'],
  [{ urls: ['hazelcast://u:secret@h', 'hazelcast://h'] }, 'urls[1]'],
  [{ urls: ['hazelcast://h'], timeoutMs: 0 }, 'timeoutMs'],
])('names a wrong option, and no password: %#', (options, option) => {
  expect(() => new HazelcastStateStore(options)).toThrow(
    expect.objectContaining({ name: 'ConfigurationError', option, message: expect.not.stringContaining('secret') }),
  );
});

function open(options: HazelcastStateStoreOptions): HazelcastStateStore {
  const store = new HazelcastStateStore(options);
  onTestFinished(() => store.close());
  return store;
}

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error('Not within 30 s');
    await wait(10);
  }
}
