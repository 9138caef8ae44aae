import { randomUUID } from 'node:crypto';
import { MemoryStateStore } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { afterEach, expect, it } from 'vitest';
import { DistributedMCPCluster, type StateManagementConfig } from '../src/index.js';
import { FakeNodes } from './fake-nodes.js';

const REDIS_URL = process.env.MCP_BLOCKS_REDIS_URL ?? '';
if (REDIS_URL === '') throw new Error('MCP_BLOCKS_REDIS_URL is not set: run the tests with `npm test`, which starts a Redis');

const open: DistributedMCPCluster[] = [];
afterEach(() => Promise.all(open.splice(0).map((cluster) => cluster.close())));

function clusterWith(stateManagementConfig: StateManagementConfig, clusterName = 'shop') {
  const nodes = new FakeNodes();
  const cluster = new DistributedMCPCluster({
    clusterName,
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 's', nodes: nodes.list('a') },
    connect: nodes.connect,
    stateManagementConfig,
  });
  open.push(cluster);
  return cluster;
}

it('two processes of a cluster share sessions, data and locks in Redis, and another cluster does not see them', async () => {
  const name = `shop-${randomUUID()}`;
  const config: StateManagementConfig = { provider: 'redis', endpoints: [REDIS_URL] };
  const [one, two, other] = [clusterWith(config, name), clusterWith(config, name), clusterWith(config, `${name}-2`)];
  await Promise.all([one.start(), two.start(), other.start()]);

  await one.setSession('s1', { cart: ['tea'] });
  expect(await two.getSession('s1')).toEqual({ cart: ['tea'] });
  await one.setSharedData('rate', 7, 60_000);
  expect(await two.getSharedData('rate')).toBe(7);
  expect([await other.getSession('s1'), await other.getSharedData('rate')]).toEqual([undefined, undefined]);

  const lock = await one.acquireLock('job', 60_000);
  expect(await two.acquireLock('job', 60_000)).toBeUndefined();
  expect(await two.releaseLock('job', 'not mine')).toBe(false);
  expect(await one.releaseLock('job', lock!.token)).toBe(true);
  expect((await two.acquireLock('job', 60_000))!.fencingToken).toBeGreaterThan(lock!.fencingToken);
});

it('a session ends when it was not set for its time', async () => {
  const clock = new ManualClock();
  const store = new MemoryStateStore({ clock });
  const cluster = clusterWith({ store, sessionTtl: 1_000 });
  await cluster.start();
  await cluster.setSession('s', 1);
  await clock.advance(999);
  expect(await cluster.getSession('s')).toBe(1);
  await clock.advance(1);
  expect(await cluster.getSession('s')).toBeUndefined();
  await cluster.close();
  // It is its owner's.
  expect(await store.get('anything')).toBeUndefined();
});

it('asks for the cluster to be started, and for endpoints that fit', async () => {
  await expect(clusterWith({}).getSession('s')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(clusterWith({ provider: 'redis' }).start()).rejects.toMatchObject({ name: 'ConfigurationError' });
});
