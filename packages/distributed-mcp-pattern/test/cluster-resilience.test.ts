import { RpcError, type RpcResult, type ServiceNode, StaticDiscovery } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { type ClusterEvents, DistributedMCPCluster, type DistributedMCPConfig, TransportFailure } from '../src/index.js';
import { draining, FakeNodes, lost, never } from './fake-nodes.js';

const open: DistributedMCPCluster[] = [];
afterEach(() => Promise.all(open.splice(0).map((cluster) => cluster.close())));

interface Setup extends Partial<DistributedMCPConfig> {
  readonly ids?: readonly string[];
  readonly list?: readonly ServiceNode[];
}

const OFF = { enabled: false };

/** A started cluster of nodes in memory, with nothing but what the test asks for. */
async function setUp({ ids = ['a', 'b'], list, ...config }: Setup = {}) {
  const nodes = new FakeNodes();
  const clock = new ManualClock();
  const discovery = new StaticDiscovery({ orders: list ?? nodes.list(...ids) });
  const cluster = new DistributedMCPCluster({
    clusterName: 'orders',
    discoveryMethod: 'custom',
    discoveryConfig: { serviceName: 'orders', discovery },
    connect: nodes.connect,
    clock,
    random: () => 0,
    circuitBreakerConfig: OFF,
    healthCheckConfig: OFF,
    outlierDetectionConfig: OFF,
    slowStartConfig: OFF,
    ...config,
  });
  open.push(cluster);
  const events: { [Name in keyof ClusterEvents]?: ClusterEvents[Name][] } = {};
  for (const name of ['circuitChange', 'healthChange', 'ejectionChange', 'panicChange'] as const) {
    cluster.on(name, (event) => ((events[name] ??= []) as unknown[]).push(event));
  }
  await cluster.start();
  return { nodes, clock, cluster, events, setNodes: (next: readonly ServiceNode[]) => discovery.update('orders', next) };
}

const READ = ['resources/read', { uri: 'x:y' }] as const;
const read = (cluster: DistributedMCPCluster, options = {}) => cluster.route(...READ, options).then(served, codeOf);
const pay = (cluster: DistributedMCPCluster, options = {}) => cluster.route('tools/call', { name: 'pay' }, options).then(served, codeOf);
const served = (result: unknown) => (result as { content: { text: string }[] }).content[0]?.text;
const codeOf = (error: RpcError) => error.code;
const statusIs = (status: number) => () =>
  Promise.reject(new TransportFailure(`HTTP ${status}`, { delivery: 'unknown', status, blamesNode: status >= 500 }));
const refusing = () => Promise.reject(new TransportFailure('HTTP 429', { delivery: 'not-sent', status: 429, blamesNode: false }));
const text = (id: string): RpcResult => ({ content: [{ type: 'text', text: id }] });
/** Answers when told to. */
function held(id: string) {
  const waiting: (() => void)[] = [];
  return {
    answer: () => new Promise<RpcResult>((resolve) => waiting.push(() => resolve(text(id)))),
    release: () => waiting.shift()?.(),
  };
}
const ids = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`);
const nodeOf = (cluster: DistributedMCPCluster, id: string) => cluster.getServiceNodes().find((node) => node.id === id)!;

describe('ejection', () => {
  it('takes a failing node out for its time and tells of both', async () => {
    const { cluster, nodes, clock, events } = await setUp({ outlierDetectionConfig: { consecutive5xx: 2 } });
    nodes.of('a').answer = statusIs(500);
    for (let i = 0; i < 6; i += 1) expect(await read(cluster)).toBe('b');
    expect(nodes.of('a').requests).toHaveLength(2);
    expect(nodeOf(cluster, 'a')).toMatchObject({ ejected: true, ejections: 1, ejectedUntil: clock.now() + 30_000, available: false });
    expect(cluster.getClusterMetrics()).toMatchObject({ ejectedNodes: 1, ejections: 1, healthyNodes: 1, panic: false });
    await clock.advance(30_000);
    expect(events.ejectionChange).toEqual([
      { nodeId: 'a', ejected: true, reason: 'consecutive-5xx', count: 1, durationMs: 30_000 },
      { nodeId: 'a', ejected: false, reason: 'time' },
    ]);
    expect(nodeOf(cluster, 'a')).toMatchObject({ ejected: false, available: true });
  });

  it.each([
    ["a tool's own error", () => ({ isError: true, content: [{ type: 'text', text: 'a' }] }), 'a'],
    ['a JSON-RPC error', () => Promise.reject(new RpcError('invalid_params', 'no')), 'invalid_params'],
    ['429 in JSON-RPC', () => Promise.reject(new RpcError('rate_limited', 'slow down')), 'rate_limited'],
    ['429 in HTTP', refusing, 'rate_limited'],
  ])('%s is no failure of the node, and nobody else is asked', async (_what, answer, expected) => {
    const { cluster, nodes } = await setUp({
      outlierDetectionConfig: { consecutive5xx: 1, consecutiveGatewayFailures: 1 },
      circuitBreakerConfig: { failureThreshold: 1 },
    });
    nodes.of('a').answer = answer;
    for (let i = 0; i < 3; i += 1) expect(await read(cluster, { preferredNode: 'a' })).toBe(expected);
    expect(nodeOf(cluster, 'a')).toMatchObject({ ejections: 0, circuit: 'closed', failedRequests: 0 });
    expect(nodes.of('b').requests).toEqual([]);
  });

  it('ends with a passing health check', async () => {
    const { cluster, nodes, clock, events } = await setUp({
      outlierDetectionConfig: { consecutiveGatewayFailures: 1 },
      healthCheckConfig: { interval: 1_000 },
    });
    nodes.of('a').answer = draining;
    await read(cluster, { preferredNode: 'a' });
    expect(nodeOf(cluster, 'a').ejected).toBe(true);
    await clock.advance(1_000);
    expect(nodeOf(cluster, 'a').ejected).toBe(false);
    expect(events.ejectionChange?.at(-1)).toEqual({ nodeId: 'a', ejected: false, reason: 'check' });
  });

  it('is counted also for nodes that have left', async () => {
    const { cluster, nodes, setNodes } = await setUp({ outlierDetectionConfig: { consecutive5xx: 1 } });
    nodes.of('a').answer = statusIs(500);
    await read(cluster, { preferredNode: 'a' });
    setNodes(nodes.list('b', 'c'));
    expect(cluster.getClusterMetrics()).toMatchObject({ ejections: 1, ejectedNodes: 0 });
  });
});

describe('panic', () => {
  it.each([
    [4, 2, false],
    [4, 3, true],
    [5, 2, false],
    [5, 3, true],
    [10, 5, false],
    [10, 6, true],
  ])('of %d nodes with %d unhealthy: %s', async (count, down, panic) => {
    const { cluster, nodes, clock, events } = await setUp({
      ids: ids(count),
      healthCheckConfig: { interval: 1_000, unhealthyThreshold: 1 },
    });
    for (const id of ids(down)) nodes.of(id).down = true;
    await clock.advance(1_000);
    expect(cluster.getClusterMetrics().panic).toBe(panic);
    expect(events.panicChange ?? []).toEqual(panic ? [{ panic: true, soundNodes: count - down, totalNodes: count }] : []);
    for (const id of ids(down)) nodes.of(id).down = false;
    // Checks are wrong sometimes: in a panic everybody is asked.
    const asked = new Set<unknown>();
    for (let i = 0; i < count; i += 1) asked.add(await read(cluster));
    expect(asked.size).toBe(panic ? count : count - down);
    if (!panic) return;
    await clock.advance(2_000);
    expect(events.panicChange?.at(-1)).toMatchObject({ panic: false });
  });

  it('disregards ejections, but no open circuit', async () => {
    const { cluster, nodes } = await setUp({
      ids: ['a'],
      outlierDetectionConfig: { consecutive5xx: 1 },
      circuitBreakerConfig: { failureThreshold: 3 },
    });
    nodes.of('a').answer = statusIs(500);
    for (let i = 0; i < 5; i += 1) expect(await read(cluster)).toBe('unavailable');
    expect(nodes.of('a').requests).toHaveLength(3);
    expect(cluster.getClusterMetrics()).toMatchObject({ panic: true, ejectedNodes: 1 });
  });

  it('can be switched off', async () => {
    const { cluster, nodes } = await setUp({ ids: ['a'], outlierDetectionConfig: { consecutive5xx: 1 }, panicThreshold: 0 });
    nodes.of('a').answer = statusIs(500);
    for (let i = 0; i < 3; i += 1) await read(cluster);
    expect(nodes.of('a').requests).toHaveLength(1);
  });
});

describe('slow start', () => {
  const slowStartConfig = { window: 10_000, minShare: 0.1 };
  /** Every 1/100 in turn, so that shares come out exactly. */
  const even = () => {
    let turn = 0;
    return () => {
      turn = (turn + 37) % 100;
      return turn / 100;
    };
  };
  const shareOf = async (cluster: DistributedMCPCluster, id: string) => {
    let count = 0;
    for (let i = 0; i < 100; i += 1) if ((await read(cluster)) === id) count += 1;
    return count;
  };

  it('gives all nodes of the first list their full part, and a new one a tenth of its', async () => {
    const { cluster, nodes, setNodes, clock } = await setUp({ slowStartConfig, random: even() });
    expect(await shareOf(cluster, 'a')).toBe(50);
    setNodes(nodes.list('a', 'b', 'c'));
    expect(nodeOf(cluster, 'c').share).toBe(0.1);
    expect(await shareOf(cluster, 'c')).toBe(5);
    await clock.advance(5_000);
    expect(nodeOf(cluster, 'c').share).toBe(0.5);
    expect(await shareOf(cluster, 'c')).toBe(20);
    await clock.advance(5_000);
    expect(await shareOf(cluster, 'c')).toBeGreaterThanOrEqual(33);
  });

  it('starts with the first real success, not with a check that passes', async () => {
    const { cluster, nodes, clock } = await setUp({
      slowStartConfig,
      random: even(),
      healthCheckConfig: { interval: 1_000, unhealthyThreshold: 1 },
    });
    nodes.of('a').down = true;
    await clock.advance(1_000);
    nodes.of('a').down = false;
    await clock.advance(60_000);
    expect(nodeOf(cluster, 'a')).toMatchObject({ health: 'healthy', share: 0.1 });
    await read(cluster, { preferredNode: 'a' });
    await clock.advance(5_000);
    expect(nodeOf(cluster, 'a').share).toBe(0.5);
  });

  it('follows a closed circuit, whose probe is the first success, and an ejection', async () => {
    const circuit = await setUp({ slowStartConfig, circuitBreakerConfig: { failureThreshold: 1, resetTimeout: 1_000 } });
    circuit.nodes.of('a').answer = draining;
    await read(circuit.cluster, { preferredNode: 'a' });
    circuit.nodes.of('a').answer = () => text('a');
    await circuit.clock.advance(1_000);
    await read(circuit.cluster, { preferredNode: 'a' });
    expect(circuit.events.circuitChange).toEqual([
      { nodeId: 'a', from: 'closed', to: 'open' },
      { nodeId: 'a', from: 'open', to: 'half-open' },
      { nodeId: 'a', from: 'half-open', to: 'closed' },
    ]);
    expect(nodeOf(circuit.cluster, 'a').share).toBe(0.1);
    await circuit.clock.advance(5_000);
    expect(nodeOf(circuit.cluster, 'a').share).toBe(0.5);

    const outlier = await setUp({ slowStartConfig, outlierDetectionConfig: { consecutive5xx: 1 } });
    outlier.nodes.of('a').answer = statusIs(500);
    await read(outlier.cluster, { preferredNode: 'a' });
    await outlier.clock.advance(30_000);
    expect(nodeOf(outlier.cluster, 'a').share).toBe(0.1);
  });
});

describe('health', () => {
  it('degrades a node that answers checks slowly, which then gets a tenth, and restores it', async () => {
    const { cluster, nodes, clock, events } = await setUp({
      healthCheckConfig: { interval: 1_000, degradedLatency: 50, unhealthyThreshold: 2 },
    });
    const slowly = () => new Promise<void>((resolve) => void clock.setTimeout(resolve, 51));
    nodes.of('a').ping = slowly;
    await clock.advance(1_100);
    expect(nodeOf(cluster, 'a').health).toBe('healthy');
    await clock.advance(1_100);
    expect(nodeOf(cluster, 'a')).toMatchObject({ health: 'degraded', available: true, share: 0.1 });
    nodes.of('a').ping = () => Promise.resolve();
    await clock.advance(1_100);
    expect(nodeOf(cluster, 'a').health).toBe('degraded');
    await clock.advance(1_100);
    expect(nodeOf(cluster, 'a')).toMatchObject({ health: 'healthy', share: 1 });
    expect(events.healthChange?.filter(({ nodeId }) => nodeId === 'a').map(({ to }) => to)).toEqual(['healthy', 'degraded', 'healthy']);
  });

  it('tells why a node became unhealthy', async () => {
    const { nodes, clock, events } = await setUp({ ids: ['a'], healthCheckConfig: { interval: 1_000, unhealthyThreshold: 1 } });
    nodes.of('a').down = true;
    await clock.advance(1_000);
    expect(events.healthChange?.at(-1)).toEqual({ nodeId: 'a', from: 'healthy', to: 'unhealthy', error: 'connection refused' });
  });
});

describe('retries', () => {
  it('wait a random time that doubles up to the cap', async () => {
    const { cluster, nodes, clock } = await setUp({ ids: ids(6), retry: { attempts: 6 }, random: () => 0.999_999 });
    for (const id of ids(6)) nodes.of(id).answer = draining;
    const startedAt = clock.now();
    const at: number[] = [];
    for (const id of ids(6)) {
      nodes.of(id).answer = () => {
        at.push(Math.round(clock.now() - startedAt));
        return draining();
      };
    }
    const outcome = read(cluster);
    await clock.advance(2_000);
    expect(await outcome).toBe('unavailable');
    expect(at).toEqual([0, 25, 75, 175, 375, 625]);
  });

  it('that are still waiting when the time is up say that nothing was carried out', async () => {
    const { cluster, nodes, clock } = await setUp({ requestTimeout: 10, random: () => 0.9 });
    nodes.of('a').answer = draining;
    const outcome = pay(cluster, { preferredNode: 'a' });
    await clock.advance(10);
    expect(await outcome).toBe('unavailable');
    expect(nodes.of('b').requests).toEqual([]);
    await cluster.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('come at once when a node could not be reached, and take nothing from the budget', async () => {
    const { cluster, nodes } = await setUp({ retry: { budget: 0, minConcurrent: 0 }, random: () => 0.9 });
    nodes.of('a').down = true;
    for (let i = 0; i < 5; i += 1) expect(await pay(cluster, { preferredNode: 'a' })).toBe('b');
  });

  it('stop at the budget when nodes fail, which bounds what an outage costs', async () => {
    const { cluster, nodes } = await setUp({ ids: ids(4), retry: { attempts: 3 } });
    let asked = 0;
    const gate = Promise.withResolvers<void>();
    for (const id of ids(4)) {
      nodes.of(id).answer = async () => {
        asked += 1;
        await gate.promise;
        return statusIs(503)();
      };
    }
    const calls = Array.from({ length: 100 }, () => read(cluster));
    await settle();
    gate.resolve();
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['unavailable']));
    expect(asked).toBeLessThanOrEqual(140);
    expect(cluster.getClusterMetrics().retriesRefused).toBeGreaterThanOrEqual(60);
  });

  it('of calls that lost their node wait for the budget, so that none is lost', async () => {
    const { cluster, nodes } = await setUp({ retry: { budget: 0, minConcurrent: 1 } });
    const gate = Promise.withResolvers<void>();
    nodes.of('a').answer = () => gate.promise.then(lost);
    let most = 0;
    nodes.of('b').answer = async () => {
      most = Math.max(most, nodeOf(cluster, 'b').inFlight);
      await settle();
      return text('b');
    };
    const calls = Array.from({ length: 20 }, () => read(cluster, { preferredNode: 'a' }));
    await settle();
    gate.resolve();
    expect(await Promise.all(calls)).toEqual(Array(20).fill('b'));
    expect(most).toBe(1);
  });

  it('spare a node that asked to be left alone, and new calls too while another can take them', async () => {
    const { cluster, nodes, clock } = await setUp();
    nodes.of('a').answer = () => Promise.reject(new RpcError('unavailable', 'busy', { data: { retryAfterMs: 5_000 } }));
    expect(await pay(cluster, { preferredNode: 'a' })).toBe('b');
    for (let i = 0; i < 6; i += 1) expect(await pay(cluster)).toBe('b');
    expect(nodes.of('a').requests).toHaveLength(1);
    nodes.of('b').answer = draining;
    // Sent again, it must not go to the node that wants none; a new call finds nobody else.
    expect(await pay(cluster, { preferredNode: 'b' })).toBe('unavailable');
    expect(nodes.of('a').requests).toHaveLength(1);
    nodes.of('b').answer = () => text('b');
    nodes.of('a').answer = () => text('a');
    await clock.advance(5_000);
    expect(await pay(cluster, { preferredNode: 'a' })).toBe('a');
  });
});

describe('time for an attempt', () => {
  it.each([
    ['may be repeated', READ, 'b'],
    ['must not be', ['tools/call', { name: 'pay' }] as const, 'ambiguous_outcome'],
  ])('when it is up, a call that %s ends with %3$s', async (_what, [method, params], expected) => {
    const { cluster, nodes, clock } = await setUp({ retry: { perTryTimeout: 100 } });
    nodes.of('a').answer = never;
    const outcome = cluster.route(method, params, { preferredNode: 'a' }).then(served, codeOf);
    await clock.advance(100);
    expect(await outcome).toBe(expected);
    expect(nodeOf(cluster, 'a')).toMatchObject({ failedRequests: 1, inFlight: 0, ewmaLatency: 100 });
  });

  it('is not repeated beyond the budget', async () => {
    const { cluster, nodes, clock } = await setUp({ retry: { perTryTimeout: 100, budget: 0, minConcurrent: 0 } });
    nodes.of('a').answer = never;
    const outcome = read(cluster, { preferredNode: 'a' });
    await clock.advance(100);
    expect(await outcome).toBe('unavailable');
    expect(nodes.of('b').requests).toEqual([]);
  });
});

describe('hedging', () => {
  const hedgingConfig = { delay: 50 };

  it('asks a second node when the first takes long; the first answer counts and the other request is cancelled', async () => {
    const { cluster, nodes, clock } = await setUp({ hedgingConfig });
    let cancelled = false;
    nodes.of('a').answer = ({ signal }) => {
      signal.addEventListener('abort', () => (cancelled = true));
      return never();
    };
    const outcome = read(cluster, { preferredNode: 'a' });
    await clock.advance(49);
    expect(nodes.of('b').requests).toEqual([]);
    await clock.advance(1);
    expect(await outcome).toBe('b');
    await settle();
    expect(cancelled).toBe(true);
    expect(nodeOf(cluster, 'a')).toMatchObject({ inFlight: 0, failedRequests: 0 });
    expect(cluster.getClusterMetrics()).toMatchObject({ hedges: 1, retries: 0 });
    await cluster.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['not for calls with an effect', ['tools/call', { name: 'pay' }], {}, 'ambiguous_outcome'],
    ['not beyond the budget', READ, { retry: { budget: 0, minConcurrent: 0 } }, 'timeout'],
  ] as const)('%s', async (_what, [method, params], config, expected) => {
    const { cluster, nodes, clock } = await setUp({ hedgingConfig, requestTimeout: 200, ...config });
    nodes.of('a').answer = never;
    const outcome = cluster.route(method, params, { preferredNode: 'a' }).then(served, codeOf);
    await clock.advance(200);
    expect(await outcome).toBe(expected);
    expect(nodes.of('b').requests).toEqual([]);
  });

  it('waits for the other one when one of two fails, and goes on to a third when both do', async () => {
    const { cluster, nodes, clock } = await setUp({ ids: ['a', 'b', 'c'], hedgingConfig });
    const slow = held('a');
    nodes.of('a').answer = slow.answer;
    nodes.of('b').answer = draining;
    nodes.of('c').answer = draining;
    const outcome = read(cluster, { preferredNode: 'a' });
    await clock.advance(50);
    slow.release();
    expect(await outcome).toBe('a');

    const gate = Promise.withResolvers<void>();
    nodes.of('a').answer = () => gate.promise.then(lost);
    nodes.of('b').answer = () => text('b');
    const second = read(cluster, { preferredNode: 'a' });
    await clock.advance(50);
    gate.resolve();
    expect(await second).toBe('b');
  });

  it('tells of the progress of one request only', async () => {
    const { cluster, nodes, clock } = await setUp({ hedgingConfig });
    const told: unknown[] = [];
    const listening: string[] = [];
    for (const id of ['a', 'b']) {
      nodes.of(id).answer = ({ onProgress }) => {
        if (onProgress !== undefined) listening.push(id);
        onProgress?.({ progress: 1 });
        return id === 'a' ? never() : text('b');
      };
    }
    const context = testContext({ notify: async (_method, params) => void told.push(params) });
    const params = { uri: 'x:y', _meta: { progressToken: 7 } };
    const outcome = cluster.route('resources/read', params, { preferredNode: 'a', context });
    await clock.advance(50);
    expect(served(await outcome)).toBe('b');
    expect(listening).toEqual(['a']);
    expect(told).toEqual([{ progress: 1, progressToken: 7 }]);
  });

  it.each([
    ['JSON-RPC', () => Promise.reject(new RpcError('rate_limited', 'slow down'))],
    ['HTTP', refusing],
  ])('goes on with the first request when the second one was one too many (%s)', async (_how, tooMany) => {
    const { cluster, nodes, clock } = await setUp({ hedgingConfig });
    const first = held('a');
    nodes.of('a').answer = first.answer;
    nodes.of('b').answer = tooMany;
    const outcome = read(cluster, { preferredNode: 'a' });
    await clock.advance(50);
    first.release();
    expect(await outcome).toBe('a');
  });

  it('takes an error answer for an answer', async () => {
    const { cluster, nodes, clock } = await setUp({ hedgingConfig });
    nodes.of('a').answer = never;
    nodes.of('b').answer = () => Promise.reject(new RpcError('resource_not_found', 'no'));
    const outcome = read(cluster, { preferredNode: 'a' });
    await clock.advance(50);
    expect(await outcome).toBe('resource_not_found');
    await settle();
    expect(nodeOf(cluster, 'a').inFlight).toBe(0);
  });
});

describe('bulkheads', () => {
  it('send calls elsewhere when a node is full, let them wait when all are, and refuse beyond that', async () => {
    const { cluster, nodes } = await setUp({ bulkheadConfig: { maxConcurrent: 1, maxQueue: 1 } });
    const [a, b] = [held('a'), held('b')];
    nodes.of('a').answer = a.answer;
    nodes.of('b').answer = b.answer;
    const calls = Array.from({ length: 4 }, () => pay(cluster, { preferredNode: 'a' }));
    await settle();
    expect(['a', 'b'].map((id) => nodeOf(cluster, id)).map(({ inFlight, queued }) => [inFlight, queued])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(await pay(cluster)).toBe('unavailable');
    for (let i = 0; i < 2; i += 1) {
      a.release();
      b.release();
      await settle();
    }
    expect((await Promise.all(calls)).sort()).toEqual(['a', 'a', 'b', 'b']);
  });

  it('send those who wait for a node that leaves to another', async () => {
    const { cluster, nodes, setNodes } = await setUp({ ids: ['a'], bulkheadConfig: { maxConcurrent: 1 } });
    const a = held('a');
    nodes.of('a').answer = a.answer;
    const calls = [pay(cluster), pay(cluster)];
    await settle();
    setNodes(nodes.list('b'));
    expect(await calls[1]).toBe('b');
    a.release();
    expect(await calls[0]).toBe('a');
    await settle();
    expect(nodes.of('a').closed).toBe(nodes.of('a').opened);
  });
});

describe('strategies', () => {
  const list = (more: Partial<ServiceNode>[]): ServiceNode[] =>
    more.map((node, index) => ({ id: `n${index}`, url: `http://n${index}.test/mcp`, ...node }));
  const count = async (cluster: DistributedMCPCluster, calls: number, options: (turn: number) => object = () => ({})) => {
    const shares: Record<string, number> = {};
    for (let turn = 0; turn < calls; turn += 1) {
      const id = String(await read(cluster, options(turn)));
      shares[id] = (shares[id] ?? 0) + 1;
    }
    return shares;
  };

  it('weighted follows the weights of discovery', async () => {
    const { cluster } = await setUp({ list: list([{ weight: 3 }, { weight: 1 }]), loadBalancingStrategy: 'weighted' });
    expect(await count(cluster, 40)).toEqual({ n0: 30, n1: 10 });
  });

  it('peak-ewma leaves a slow node alone', async () => {
    const { cluster, nodes, clock } = await setUp({ list: list([{}, {}]), loadBalancingStrategy: 'peak-ewma' });
    nodes.of('n0').answer = async () => {
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 500));
      return text('n0');
    };
    const first = read(cluster, { preferredNode: 'n0' });
    await clock.advance(500);
    await first;
    await read(cluster, { preferredNode: 'n1' });
    expect(await count(cluster, 20)).toEqual({ n1: 20 });
  });

  it('sticky keeps a caller on one node, and an anonymous one nowhere', async () => {
    const { cluster } = await setUp({ list: list([{}, {}, {}]), loadBalancingStrategy: 'sticky', random: Math.random });
    const as = (id: string) => ({ context: testContext({ principal: testPrincipal({ id }) }) });
    for (const id of ['ada', 'ben', 'cleo', 'dora']) expect(Object.keys(await count(cluster, 5, () => as(id)))).toHaveLength(1);
    expect(Object.keys(await count(cluster, 60))).toHaveLength(3);
  });

  it('regions, rules and strategies of your own work together', async () => {
    const { cluster, setNodes } = await setUp({
      list: list([
        { region: 'eu', version: '1' },
        { region: 'us', version: '1' },
        { region: 'us', version: '2' },
      ]),
      localityConfig: { region: 'us' },
      routingRules: [{ tools: ['beta_*'], nodes: { version: '2' }, otherwise: 'refuse' }],
      // The last one of the list.
      loadBalancingStrategy: () => ({
        picker: (nodes) => ({
          pick: ({ exclude }) => {
            const node = nodes.findLast(({ id }) => !exclude?.has(id));
            return node === undefined ? { kind: 'unavailable', reason: 'none' } : { kind: 'complete', node };
          },
        }),
      }),
    });
    expect(await count(cluster, 10)).toEqual({ n2: 10 });
    setNodes(
      list([
        { region: 'eu', version: '1' },
        { region: 'us', version: '1' },
      ]),
    );
    expect(await count(cluster, 10)).toEqual({ n1: 10 });
    expect(await cluster.route('tools/call', { name: 'beta_x' }).then(served, codeOf)).toBe('unavailable');
    setNodes(list([{ region: 'eu', version: '1' }]));
    expect(await count(cluster, 10)).toEqual({ n0: 10 });
  });
});
