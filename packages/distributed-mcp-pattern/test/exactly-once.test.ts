import { isJsonObject, type JsonObject, META, RpcError, StaticDiscovery } from '@mcp-blocks/core';
import { ManualClock, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { RedisStateStore } from '@mcp-blocks/shared-state/redis';
import { afterEach, describe, expect, it } from 'vitest';
import { DistributedMCPCluster, type DistributedMCPConfig, TransportFailure } from '../src/index.js';
import { draining, FakeNodes, lost } from './fake-nodes.js';
import { redis, startProcess } from './processes.js';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function setUp(ids: readonly string[], config: Partial<DistributedMCPConfig> = {}) {
  const nodes = new FakeNodes();
  const clock = new ManualClock();
  const cluster = new DistributedMCPCluster({
    clusterName: 'orders',
    discoveryMethod: 'custom',
    discoveryConfig: { serviceName: 'orders', discovery: new StaticDiscovery({ orders: nodes.list(...ids) }) },
    connect: nodes.connect,
    clock,
    random: () => 0,
    retry: { exactlyOnce: true },
    ...config,
  });
  open.push(() => cluster.close());
  await cluster.start();
  const metas = () =>
    ids.flatMap((id) => nodes.of(id).requests).flatMap(({ params }) => (isJsonObject(params._meta) ? [params._meta] : []));
  return { nodes, clock, cluster, metas };
}

const pay = (key?: string): JsonObject => ({ name: 'pay', ...(key === undefined ? {} : { _meta: { [META.idempotencyKey]: key } }) });

describe('with nodes that deduplicate', () => {
  it('a call whose node is lost goes to another one, with the same key', async () => {
    const { nodes, cluster, metas } = await setUp(['a', 'b', 'c']);
    nodes.of('a').answer = lost;
    nodes.of('b').answer = lost;
    await cluster.route('tools/call', pay('k'), { preferredNode: 'a', context: testContext() });
    expect(metas().map((meta) => meta[META.idempotencyKey])).toEqual(['k', 'k', 'k']);
    expect(new Set(metas().map((meta) => meta[META.idempotencyScope])).size).toBe(1);
    expect(nodes.of('a').requests.map(({ method }) => method)).toEqual(['tools/call']);
  });

  it('a call without a key is given one, the same at every node and another for each call', async () => {
    const { nodes, cluster, metas } = await setUp(['a', 'b']);
    nodes.of('a').answer = lost;
    await cluster.route('tools/call', pay(), { preferredNode: 'a' });
    await cluster.route('tools/call', { ...pay(), _meta: { progressToken: 1 } }, { preferredNode: 'b' });
    const keys = metas().map((meta) => meta[META.idempotencyKey]);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(keys).toEqual([keys[0], keys[0], expect.not.stringMatching(String(keys[0]))]);
    expect(metas()[2]).toMatchObject({ progressToken: 1 });
  });

  it('what may be repeated anyway is given none', async () => {
    const { nodes, cluster, metas } = await setUp(['a']);
    nodes.of('a').answer = ({ method }) =>
      method === 'tools/list' ? { tools: [{ name: 'look', annotations: { readOnlyHint: true } }] } : { content: [] };
    await cluster.route('tools/list');
    await cluster.route('tools/call', { name: 'look' });
    await cluster.route('resources/read', { uri: 'x:y' });
    expect(metas()).toEqual([]);
  });

  it.each([
    ['takes no requests', draining],
    ['takes no more requests', () => Promise.reject(new RpcError('rate_limited', 'slow down'))],
    ['does not let the caller', () => Promise.reject(new RpcError('forbidden', 'no'))],
    ['cannot be reached', () => Promise.reject(new TransportFailure('connection refused', { delivery: 'not-sent' }))],
    ['is lost too', lost],
  ])('when the node a call goes on to %s, its outcome is not known', async (_what, answer) => {
    const { nodes, cluster } = await setUp(['a', 'b']);
    nodes.of('a').answer = lost;
    nodes.of('b').answer = answer;
    await expect(cluster.route('tools/call', pay('k'), { preferredNode: 'a' })).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    expect(nodes.of('b').requests).toHaveLength(1);
  });

  it('when no node is left, or no time, its outcome is not known', async () => {
    const alone = await setUp(['a']);
    alone.nodes.of('a').answer = lost;
    await expect(alone.cluster.route('tools/call', pay('k'))).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    const late = await setUp(['a', 'b'], { random: () => 0.99, requestTimeout: 10 });
    late.nodes.of('a').answer = lost;
    const call = late.cluster.route('tools/call', pay('k'), { preferredNode: 'a' }).catch((error: unknown) => error);
    await late.clock.advance(10);
    expect(await call).toMatchObject({ code: 'ambiguous_outcome' });
    expect(late.nodes.of('b').requests).toEqual([]);
  });

  it('when the first node did not take it, another refusal says no more than that', async () => {
    const { nodes, cluster } = await setUp(['a', 'b']);
    nodes.of('a').answer = draining;
    nodes.of('b').answer = draining;
    await expect(cluster.route('tools/call', pay('k'))).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('whose key it is', () => {
  it('callers of one cluster have scopes of their own, also behind another gateway', async () => {
    const { cluster, metas } = await setUp(['a'], { retry: {} });
    const as = (id: string) => ({ context: testContext({ principal: testPrincipal({ id }) }) });
    const from = (scope: string): JsonObject => ({ name: 'pay', _meta: { [META.idempotencyKey]: 'k', [META.idempotencyScope]: scope } });
    await cluster.route('tools/call', pay('k'), as('alice'));
    await cluster.route('tools/call', pay('k'), as('alice'));
    await cluster.route('tools/call', pay('k'), as('bob'));
    await cluster.route('tools/call', from('carol'), as('bob'));
    await cluster.route('tools/call', from('dave'), as('bob'));
    await cluster.route('tools/call', pay('k'), { userId: 'bob' });
    await cluster.route('tools/call', pay('k'));
    const scopes = metas().map((meta) => meta[META.idempotencyScope]);
    expect(scopes[0]).toBe(scopes[1]);
    expect(scopes[6]).toBeUndefined();
    expect(new Set(scopes).size).toBe(6);
  });

  it('without a promise of the nodes a key makes no call repeatable', async () => {
    const { nodes, cluster } = await setUp(['a', 'b'], { retry: {} });
    nodes.of('a').answer = lost;
    await expect(cluster.route('tools/call', pay('k'), { preferredNode: 'a' })).rejects.toMatchObject({ code: 'ambiguous_outcome' });
  });
});

describe('two nodes in processes of their own, and Redis', { timeout: 120_000 }, () => {
  async function startNodes(leaseMs: number) {
    const place = redis();
    const store = new RedisStateStore(place);
    open.push(() => store.close());
    const [a, b] = await Promise.all(
      ['a', 'b'].map(async (id) => {
        const node = await startProcess(new URL('fixtures/exactly-once-node.ts', import.meta.url), { id, leaseMs, redis: place });
        open.push(() => node.kill());
        return node;
      }),
    );
    const connect = async () => {
      const cluster = new DistributedMCPCluster({
        clusterName: 'orders',
        discoveryMethod: 'static',
        discoveryConfig: { serviceName: 'orders', nodes: [a!, b!].map(({ id, url }) => ({ id, url })) },
        healthCheckConfig: { enabled: false },
        retry: { exactlyOnce: true },
      });
      open.push(() => cluster.close());
      await cluster.start();
      return (params: JsonObject, preferredNode: string) => cluster.route('tools/call', params, { preferredNode, context: testContext() });
    };
    return { a: a!, b: b!, connect, effects: async () => (await store.get('effects')) ?? 0 };
  }

  it('a node killed after the effect and before the answer: the call goes on to the other, which has the answer', async () => {
    const { a, b, connect, effects } = await startNodes(600_000);
    const call = await connect();
    a.send('hold answers');
    const answer = call(pay('k'), 'a');
    await a.hears('effect recorded');
    await a.kill();
    expect(await answer).toMatchObject({ content: [{ type: 'text', text: 'paid by a' }] });
    expect(await effects()).toBe(1);
    // Also by another gateway, and without a key of the caller's own.
    expect(await (await connect())(pay('k'), 'b')).toMatchObject({ content: [{ type: 'text', text: 'paid by a' }] });
    expect(await effects()).toBe(1);
    expect(await call(pay(), 'b')).toMatchObject({ content: [{ type: 'text', text: 'paid by b' }] });
    expect(await effects()).toBe(2);
    await b.kill();
  });

  it('a node killed in the middle of a call: its outcome is not known, and the other does not carry it out', async () => {
    const { a, connect, effects } = await startNodes(300);
    const call = await connect();
    a.send('hold effects');
    const answer = call(pay('k'), 'a').catch((error: unknown) => error);
    await a.hears('call begun');
    await a.kill();
    expect(await answer).toMatchObject({ code: 'ambiguous_outcome', data: { reason: 'idempotency_unknown' } });
    expect(await effects()).toBe(0);
  });
});
