import type { RpcContext } from '@mcp-blocks/core';
import { ManualClock, settle, testContext } from '@mcp-blocks/core/testing';
import { afterEach, expect, it } from 'vitest';
import { DistributedMCPCluster, type DistributedMCPConfig } from '../src/index.js';
import { FakeNodes } from './fake-nodes.js';

const clusters: DistributedMCPCluster[] = [];
afterEach(() => Promise.all(clusters.splice(0).map((cluster) => cluster.close())));

async function setUp(config: Partial<DistributedMCPConfig> = {}) {
  const nodes = new FakeNodes();
  const clock = new ManualClock();
  const cluster = new DistributedMCPCluster({
    clusterName: 'c',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 's', nodes: nodes.list('a', 'b') },
    healthCheckConfig: { enabled: false },
    requestTimeout: 1_000,
    clock,
    random: () => 0,
    connect: nodes.connect,
    ...config,
  });
  clusters.push(cluster);
  await cluster.start();
  let answer: (content: string) => void = () => {};
  const context: RpcContext = testContext({
    clientCapabilities: { elicitation: {}, experimental: {} },
    request: () => new Promise((resolve) => (answer = (content) => resolve({ action: 'accept', content }))),
  });
  return { nodes, clock, cluster, context, answer: (content: string) => answer(content) };
}

it.each([{}, { retry: { perTryTimeout: 500 } }])('the time a caller takes to answer is not counted: %j', async (config) => {
  const { nodes, clock, cluster, context, answer } = await setUp(config);
  nodes.of('a').answer = async ({ ask }) => {
    const first = await ask?.('elicitation/create', { message: 'Who?' });
    await new Promise((resolve) => clock.setTimeout(() => resolve(undefined), 300));
    return { heard: first?.content as string };
  };
  const call = cluster.route('tools/call', { name: 'x' }, { context, preferredNode: 'a' });
  await settle();
  await clock.advance(3_600_000);
  answer('Ada');
  await settle();
  await clock.advance(300);
  expect(await call).toEqual({ heard: 'Ada' });
  expect(cluster.getServiceNodes().find(({ id }) => id === 'a')).toMatchObject({ averageLatency: 300, failedRequests: 0 });
});

it('the time after the answer is counted, with what had passed before', async () => {
  const { nodes, clock, cluster, context, answer } = await setUp();
  nodes.of('a').answer = async ({ ask }) => {
    await new Promise((resolve) => clock.setTimeout(() => resolve(undefined), 600));
    await ask?.('elicitation/create', { message: 'Who?' });
    return new Promise(() => {});
  };
  const outcome = cluster.route('tools/call', { name: 'x' }, { context, preferredNode: 'a' }).catch((error: Error) => error);
  let over = false;
  void outcome.then(() => (over = true));
  await settle();
  await clock.advance(600);
  await clock.advance(5_000);
  answer('Ada');
  await settle();
  await clock.advance(399);
  expect(over).toBe(false);
  await clock.advance(1);
  expect(await outcome).toMatchObject({ code: 'ambiguous_outcome' });
});
