import { MemoryStateStore, RpcError, type ServiceNode, StaticDiscovery } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DistributedMCPCluster, type DistributedMCPConfig, RoundRobinBalancer } from '../src/index.js';
import { draining, FakeNodes, lost, never } from './fake-nodes.js';

const open: DistributedMCPCluster[] = [];
afterEach(() => Promise.all(open.splice(0).map((cluster) => cluster.close())));

interface Setup extends Partial<DistributedMCPConfig> {
  readonly ids?: readonly string[];
}

async function setUp({ ids = ['a', 'b'], ...config }: Setup = {}) {
  const nodes = new FakeNodes();
  const clock = new ManualClock();
  const discovery = new StaticDiscovery({ orders: nodes.list(...ids) });
  const cluster = new DistributedMCPCluster({
    clusterName: 'orders',
    discoveryMethod: 'custom',
    discoveryConfig: { serviceName: 'orders', discovery },
    connect: nodes.connect,
    clock,
    random: () => 0,
    ...config,
  });
  open.push(cluster);
  const start = () => cluster.start();
  const setNodes = (list: readonly ServiceNode[]) => discovery.update('orders', list);
  return { nodes, clock, cluster, start, setNodes, discovery };
}

const served = (result: unknown) => (result as { content: { text: string }[] }).content[0]?.text;
const call = (cluster: DistributedMCPCluster, options = {}, name = 'look') => cluster.route('tools/call', { name }, options);

describe('routing', () => {
  it('refuses calls before start and after close', async () => {
    const { cluster, start } = await setUp();
    await expect(call(cluster)).rejects.toMatchObject({ code: 'unavailable' });
    await start();
    await cluster.close();
    await cluster.close();
    await expect(call(cluster)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('takes turns, or goes where the fewest requests are', async () => {
    const turns = await setUp();
    await turns.start();
    expect([served(await call(turns.cluster)), served(await call(turns.cluster)), served(await call(turns.cluster))]).toEqual([
      'a',
      'b',
      'a',
    ]);
    const least = await setUp({ loadBalancingStrategy: 'least-connections' });
    await least.start();
    least.nodes.of('a').answer = never;
    least.nodes.of('b').answer = never;
    for (let i = 0; i < 10; i += 1) call(least.cluster).catch(() => {});
    await settle();
    expect(least.cluster.getServiceNodes().map(({ inFlight }) => inFlight)).toEqual([5, 5]);
  });

  it('uses the preferred node while it can take requests', async () => {
    const { cluster, nodes, start } = await setUp();
    await start();
    for (let i = 0; i < 4; i += 1) expect(served(await call(cluster, { preferredNode: 'b' }))).toBe('b');
    nodes.of('b').down = true;
    expect(served(await call(cluster, { preferredNode: 'b' }))).toBe('a');
    expect(served(await call(cluster, { preferredNode: 'nobody' }))).toBe('a');
  });

  it('keeps a session on one node, and moves only the sessions of a node that leaves', async () => {
    const { cluster, start, setNodes, nodes } = await setUp({ ids: ['a', 'b', 'c'] });
    await start();
    const sessions = Array.from({ length: 30 }, (_, n) => `s${n}`);
    const where = async () => Promise.all(sessions.map(async (sessionId) => served(await call(cluster, { sessionId }))));
    const before = await where();
    expect(await where()).toEqual(before);
    expect(new Set(before).size).toBe(3);
    setNodes(nodes.list('a', 'b'));
    const after = await where();
    for (const [index, id] of before.entries()) if (id !== 'c') expect(after[index]).toBe(id);
  });

  it('treats the legacy session of a context as the session', async () => {
    const { cluster, start } = await setUp({ ids: ['a', 'b', 'c'] });
    await start();
    const context = testContext({ sessionId: 'legacy-7' });
    const request = { method: 'tools/call', params: { name: 'look' } };
    const answers = new Set<unknown>();
    for (let i = 0; i < 9; i += 1) answers.add(served(await cluster.handler(request, context)));
    expect(answers.size).toBe(1);
  });

  it('asks for credentials of the context, of the user named, or of itself', async () => {
    const { cluster, nodes, start } = await setUp({
      ids: ['a'],
      healthCheckConfig: { enabled: false },
      credentials: (_node, principal) => ({ headers: { who: principal?.id ?? 'cluster' } }),
    });
    await start();
    await call(cluster);
    await call(cluster, { userId: 'ulla' });
    await call(cluster, { context: testContext({ principal: testPrincipal({ id: 'ada' }) }) });
    expect(nodes.headers).toEqual([{ who: 'cluster' }, { who: 'ulla' }, { who: 'ada' }]);
  });
});

describe('when a node fails', () => {
  const list = {
    tools: [{ name: 'look', annotations: { readOnlyHint: true } }, { name: 'set', annotations: { idempotentHint: true } }, { name: 'pay' }],
  };

  it.each([
    ['cannot be reached', 'tools/call', { name: 'pay' }, (nodes: FakeNodes) => (nodes.of('a').down = true), 'b'],
    ['says it is draining', 'tools/call', { name: 'pay' }, (nodes: FakeNodes) => (nodes.of('a').answer = draining), 'b'],
    ['is lost in a read-only tool', 'tools/call', { name: 'look' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'b'],
    ['is lost in an idempotent tool', 'tools/call', { name: 'set' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'b'],
    ['is lost in another tool', 'tools/call', { name: 'pay' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'ambiguous_outcome'],
    ['is lost in an unknown tool', 'tools/call', { name: 'x' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'ambiguous_outcome'],
    ['is lost in a read', 'resources/read', { uri: 'x:y' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'b'],
    ['is lost in a prompt', 'prompts/get', { name: 'x' }, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'b'],
    ['is lost in a method we do not know', 'vendor/do', {}, (nodes: FakeNodes) => (nodes.of('a').answer = lost), 'ambiguous_outcome'],
  ])('that %s, %s %j ends at %5$s', async (_how, method, params, breakIt, expected) => {
    const { cluster, nodes, start } = await setUp();
    await start();
    nodes.of('b').answer = ({ method: asked }) => (asked === 'tools/list' ? list : { content: [{ type: 'text', text: 'b' }] });
    breakIt(nodes);
    const outcome = await cluster.route(method, params, { preferredNode: 'a' }).then(served, (error: RpcError) => error.code);
    expect(outcome).toBe(expected);
    if (expected === 'ambiguous_outcome') {
      expect(nodes.of('b').requests.filter((request) => request.method === method)).toEqual([]);
    }
  });

  it('tries as many nodes as allowed, each once', async () => {
    const { cluster, nodes, start } = await setUp({ ids: ['a', 'b', 'c', 'd'], retry: { attempts: 3 } });
    await start();
    for (const id of ['a', 'b', 'c', 'd']) nodes.of(id).answer = draining;
    await expect(call(cluster)).rejects.toMatchObject({ code: 'unavailable' });
    expect(['a', 'b', 'c', 'd'].map((id) => nodes.of(id).requests.length).sort()).toEqual([0, 1, 1, 1]);
    expect(cluster.getClusterMetrics()).toMatchObject({ totalRequests: 1, failedRequests: 1, retries: 2 });
  });

  it('passes error answers on at once', async () => {
    const { cluster, nodes, start } = await setUp({ circuitBreakerConfig: { failureThreshold: 1 } });
    await start();
    nodes.of('a').answer = () => Promise.reject(new RpcError('upstream_error', 'x', { jsonRpcCode: -31_999 }));
    await expect(call(cluster, { preferredNode: 'a' })).rejects.toMatchObject({ jsonRpcCode: -31_999 });
    expect(nodes.of('b').requests).toEqual([]);
    expect(cluster.getCircuitBreakers().get('a')?.state).toBe('closed');
  });

  it.each([
    ['resources/read', { uri: 'x:y' }, 'timeout'],
    ['tools/call', { name: 'pay' }, 'ambiguous_outcome'],
  ])('gives %s up after the request timeout', async (method, params, code) => {
    const { cluster, nodes, clock, start } = await setUp({ requestTimeout: 500, circuitBreakerConfig: { failureThreshold: 1 } });
    await start();
    nodes.of('a').answer = never;
    const outcome = cluster.route(method, params, { preferredNode: 'a' }).catch((error: unknown) => error);
    await clock.advance(499);
    expect(cluster.getServiceNodes()[0]?.inFlight).toBe(1);
    await clock.advance(1);
    expect(await outcome).toMatchObject({ code });
    expect(cluster.getServiceNodes()[0]).toMatchObject({ inFlight: 0, failedRequests: 1, circuit: 'open' });
    expect(nodes.of('b').requests).toEqual([]);
  });

  it('does not hold a cancelled call against the node', async () => {
    const { cluster, nodes, start } = await setUp({ circuitBreakerConfig: { failureThreshold: 1 } });
    await start();
    nodes.of('a').answer = never;
    const abort = new AbortController();
    const outcome = call(cluster, { preferredNode: 'a', signal: abort.signal }).catch((error: unknown) => error);
    await settle();
    abort.abort();
    expect(await outcome).toMatchObject({ code: 'cancelled' });
    expect(cluster.getServiceNodes()[0]).toMatchObject({ inFlight: 0, failedRequests: 0, circuit: 'closed' });
  });

  it('loses no call that may be repeated, whichever nodes fail, as long as one is left', async () => {
    const fault = fc.constantFrom('fine', 'down', 'lost', 'draining');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fault, fault), { minLength: 1, maxLength: 30 }), async (faults) => {
        const { cluster, nodes, start } = await setUp({ ids: ['a', 'b', 'c'], circuitBreakerConfig: { failureThreshold: 2 } });
        await start();
        for (const [index, faultsNow] of faults.entries()) {
          for (const [which, id] of (['a', 'b'] as const).entries()) {
            const node = nodes.of(id);
            const now = faultsNow[which];
            node.down = now === 'down';
            node.answer = now === 'lost' ? lost : now === 'draining' ? draining : () => ({ content: [{ type: 'text', text: id }] });
          }
          expect(['a', 'b', 'c']).toContain(served(await cluster.route('resources/read', { uri: `x:${index}` })));
        }
        expect(cluster.getServiceNodes().map(({ inFlight }) => inFlight)).toEqual([0, 0, 0]);
      }),
      { numRuns: 50 },
    );
  });
});

describe('circuit breakers', () => {
  it('take a failing node out, and bring it back after a probe', async () => {
    const { cluster, nodes, clock, start } = await setUp({
      circuitBreakerConfig: { failureThreshold: 2, resetTimeout: 5_000 },
      healthCheckConfig: { enabled: false },
    });
    await start();
    nodes.of('a').answer = draining;
    for (let i = 0; i < 6; i += 1) expect(served(await call(cluster))).toBe('b');
    expect(nodes.of('a').requests).toHaveLength(2);
    expect(cluster.getCircuitBreakers().get('a')).toMatchObject({ state: 'open', retryAt: clock.now() + 5_000 });
    expect(cluster.getClusterMetrics()).toMatchObject({ healthyNodes: 1, circuitBreakerTrips: 1 });

    await clock.advance(5_000);
    let release: () => void = () => {};
    nodes.of('a').answer = () => new Promise((resolve) => (release = () => resolve({ content: [{ type: 'text', text: 'a' }] })));
    const probe = call(cluster, { preferredNode: 'a' });
    await settle();
    expect(served(await call(cluster, { preferredNode: 'a' }))).toBe('b');
    release();
    expect(served(await probe)).toBe('a');
    nodes.of('a').answer = () => ({ content: [{ type: 'text', text: 'a' }] });
    expect(served(await call(cluster, { preferredNode: 'a' }))).toBe('a');
  });

  it('tell callers without a node when the next probe is due', async () => {
    const { cluster, nodes, clock, start } = await setUp({
      ids: ['a'],
      circuitBreakerConfig: { failureThreshold: 1, resetTimeout: 5_000 },
      healthCheckConfig: { enabled: false },
    });
    await start();
    nodes.of('a').answer = draining;
    await expect(call(cluster)).rejects.toMatchObject({ code: 'unavailable' });
    await clock.advance(2_000);
    await expect(call(cluster)).rejects.toMatchObject({ data: { retryAfterMs: 3_000 }, headers: { 'retry-after': '3' } });
  });

  it('can be switched off', async () => {
    const { cluster, nodes, start } = await setUp({ ids: ['a'], circuitBreakerConfig: { enabled: false } });
    await start();
    nodes.of('a').answer = draining;
    for (let i = 0; i < 20; i += 1) await call(cluster).catch(() => {});
    expect(nodes.of('a').requests).toHaveLength(20);
    expect(cluster.getCircuitBreakers().size).toBe(0);
  });
});

describe('health checks', () => {
  const healthCheckConfig = { interval: 1_000, timeout: 100, healthyThreshold: 2, unhealthyThreshold: 3 };
  const healthOf = (cluster: DistributedMCPCluster) => cluster.getServiceNodes().map(({ health }) => health);

  it('find a node that is down before the first call', async () => {
    const { cluster, nodes, start } = await setUp({ healthCheckConfig });
    nodes.of('a').down = true;
    await start();
    expect(healthOf(cluster)).toEqual(['unhealthy', 'healthy']);
    expect(cluster.getServiceNodes()[0]).toMatchObject({ available: false, lastHealthError: 'connection refused' });
    for (let i = 0; i < 4; i += 1) expect(served(await call(cluster))).toBe('b');
    expect(nodes.of('a').requests).toEqual([]);
  });

  it('take a node out after as many failures in a row as the threshold, and bring it back the same way', async () => {
    const { cluster, nodes, clock, start } = await setUp({ healthCheckConfig });
    await start();
    nodes.of('a').down = true;
    await clock.advance(2_000);
    expect(healthOf(cluster)).toEqual(['healthy', 'healthy']);
    await clock.advance(1_000);
    expect(healthOf(cluster)).toEqual(['unhealthy', 'healthy']);
    nodes.of('a').down = false;
    await clock.advance(1_000);
    expect(healthOf(cluster)).toEqual(['unhealthy', 'healthy']);
    await clock.advance(1_000);
    expect(healthOf(cluster)).toEqual(['healthy', 'healthy']);
  });

  it('start counting anew after a passing check', async () => {
    const { cluster, nodes, clock, start } = await setUp({ healthCheckConfig });
    await start();
    for (let round = 0; round < 4; round += 1) {
      nodes.of('a').down = true;
      await clock.advance(2_000);
      nodes.of('a').down = false;
      await clock.advance(1_000);
    }
    expect(healthOf(cluster)).toEqual(['healthy', 'healthy']);
  });

  it('count a check without an answer as failed after its timeout', async () => {
    const { cluster, nodes, clock, start } = await setUp({ healthCheckConfig: { ...healthCheckConfig, unhealthyThreshold: 1 } });
    await start();
    nodes.of('a').ping = never;
    await clock.advance(1_000);
    expect(healthOf(cluster)).toEqual(['healthy', 'healthy']);
    await clock.advance(100);
    expect(healthOf(cluster)).toEqual(['unhealthy', 'healthy']);
    expect(cluster.getServiceNodes()[0]?.lastHealthError).toBe('no answer within 100 ms');
  });

  it('use a connection of their own, kept from check to check', async () => {
    const { nodes, clock, start } = await setUp({ ids: ['a'], healthCheckConfig });
    await start();
    await clock.advance(10_000);
    expect(nodes.of('a').opened).toBe(1);
    expect(nodes.of('a').requests).toEqual([]);
  });

  it('renew credentials that are over without counting a failure', async () => {
    let valid = 0;
    let given = 0;
    const { cluster, nodes, clock, start } = await setUp({
      ids: ['a'],
      healthCheckConfig: { ...healthCheckConfig, unhealthyThreshold: 1 },
      credentials: () => ({ headers: { token: String((given += 1)) } }),
    });
    nodes.of('a').ping = async () => {
      if (nodes.headers.length <= valid) throw new RpcError('unauthenticated', 'expired');
    };
    await start();
    valid = 1;
    await clock.advance(1_000);
    expect(healthOf(cluster)).toEqual(['healthy']);
    expect(nodes.headers.map(({ token }) => token)).toEqual(['1', '2']);
  });
});

describe('discovery', () => {
  it('brings nodes in and takes them out, and tells listeners', async () => {
    const { cluster, nodes, start, setNodes } = await setUp({ ids: ['a'] });
    const changes: string[][] = [];
    cluster.on('nodeChange', (list) => changes.push(list.map(({ id }) => id)));
    await start();
    setNodes(nodes.list('a', 'b'));
    expect(changes.at(-1)).toEqual(['a', 'b']);
    expect(served(await call(cluster, { preferredNode: 'b' }))).toBe('b');
    setNodes(nodes.list('b'));
    expect(changes.at(-1)).toEqual(['b']);
    expect(served(await call(cluster, { preferredNode: 'a' }))).toBe('b');
    await settle();
    expect(nodes.of('a').closed).toBe(nodes.of('a').opened);
  });

  it('lets calls in progress end on a node that leaves', async () => {
    const { cluster, nodes, start, setNodes } = await setUp({ ids: ['a'] });
    await start();
    let finish: () => void = () => {};
    nodes.of('a').answer = () => new Promise((resolve) => (finish = () => resolve({ content: [{ type: 'text', text: 'a' }] })));
    const running = call(cluster);
    await settle();
    setNodes(nodes.list('b'));
    await settle();
    expect(served(await call(cluster))).toBe('b');
    finish();
    expect(served(await running)).toBe('a');
    await settle();
    expect(nodes.of('a').closed).toBe(nodes.of('a').opened);
  });

  it('keeps what is known of a node whose entry is the same', async () => {
    const { cluster, nodes, start, setNodes } = await setUp({ ids: ['a'], circuitBreakerConfig: { failureThreshold: 1 } });
    await start();
    nodes.of('a').answer = draining;
    await call(cluster).catch(() => {});
    setNodes(nodes.list('a', 'b'));
    expect(cluster.getCircuitBreakers().get('a')?.state).toBe('open');
    setNodes([{ id: 'a', url: 'http://moved.test/mcp' }]);
    expect(cluster.getCircuitBreakers().get('a')?.state).toBe('closed');
    expect(cluster.getClusterMetrics().circuitBreakerTrips).toBe(1);
  });

  it('changes the entry of a node in place: connections, counts, circuit and checks go on', async () => {
    const seen: (string | undefined)[] = [];
    const { cluster, nodes, start, setNodes, clock } = await setUp({
      ids: ['a', 'b'],
      loadBalancingStrategy: 'weighted',
      circuitBreakerConfig: { failureThreshold: 2 },
      slowStartConfig: { enabled: true },
      credentials: ({ metadata }) => {
        seen.push(metadata?.rack);
        return { headers: {} };
      },
    });
    await start();
    for (let n = 0; n < 4; n += 1) await call(cluster);
    let finish: () => void = () => {};
    nodes.of('a').answer = () => new Promise((resolve) => (finish = () => resolve({ content: [{ type: 'text', text: 'a' }] })));
    const running = call(cluster, { preferredNode: 'a' });
    await settle();
    const [before] = cluster.getServiceNodes();
    const opened = nodes.of('a').opened;
    const [a, b] = nodes.list('a', 'b');
    const told: string[] = [];
    cluster.on('nodeChange', (list) => told.push(list.map(({ id, weight }) => `${id}:${weight}`).join(' ')));
    setNodes([
      { ...a!, weight: 3, version: '2', region: 'west', metadata: { rack: '7' } },
      { ...b!, weight: 1 },
    ]);
    expect(told).toEqual(['a:3 b:1']);
    const [after] = cluster.getServiceNodes();
    expect(after).toEqual({ ...before, weight: 3, version: '2', region: 'west', metadata: { rack: '7' } });
    expect(after).toMatchObject({ inFlight: 1, totalRequests: 3, connections: 1, share: 1 });
    finish();
    expect(served(await running)).toBe('a');
    nodes.of('a').answer = () => ({ content: [{ type: 'text', text: 'a' }] });
    const turns: unknown[] = [];
    for (let n = 0; n < 8; n += 1) turns.push(served(await call(cluster)));
    expect(turns.filter((id) => id === 'a')).toHaveLength(6);
    expect([nodes.of('a').opened, nodes.of('a').closed]).toEqual([opened, 0]);
    // The circuit goes on counting, and a connection made from now on is for the node as it is described now.
    nodes.of('a').answer = draining;
    await call(cluster, { preferredNode: 'a' });
    setNodes([
      { ...a!, weight: 2, metadata: { rack: '8' } },
      { ...b!, weight: 1 },
    ]);
    await call(cluster, { preferredNode: 'a' });
    expect(cluster.getCircuitBreakers().get('a')?.state).toBe('open');
    expect(seen).not.toContain('8');
    await clock.advance(60_000);
    nodes.of('a').answer = () => ({ content: [{ type: 'text', text: 'a' }] });
    await call(cluster, { preferredNode: 'a' });
    expect(seen).toContain('8');
  });

  it('reports what goes wrong with it', async () => {
    let report: (error: Error) => void = () => {};
    const discovery = new StaticDiscovery({});
    const watch = discovery.watch.bind(discovery);
    Object.assign(discovery, {
      watch: (service: string, onChange: never, onError: typeof report) => {
        report = onError;
        return watch(service, onChange);
      },
    });
    const { cluster, start } = await setUp({ discoveryConfig: { serviceName: 'orders', discovery } });
    const errors: Error[] = [];
    cluster.on('error', (error) => errors.push(error));
    await start();
    report(new Error('registry away'));
    expect(errors).toEqual([new Error('registry away')]);
  });

  it('that is away at start can be asked again', async () => {
    const { cluster, discovery, start } = await setUp();
    const watch = vi.spyOn(discovery, 'watch').mockRejectedValueOnce(new RpcError('unavailable', 'away'));
    await expect(start()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(call(cluster)).rejects.toMatchObject({ code: 'unavailable' });
    await start();
    expect(served(await call(cluster))).toBe('a');
    expect(watch).toHaveBeenCalledTimes(2);
  });

  it('with an etcd that does not answer, start is refused as unavailable', async () => {
    const cluster = new DistributedMCPCluster({
      clusterName: 'orders',
      discoveryMethod: 'etcd',
      discoveryConfig: { serviceName: 'orders', endpoints: ['http://127.0.0.1:1'] },
    });
    await expect(cluster.start()).rejects.toMatchObject({ code: 'unavailable' });
    await cluster.close();
  });
});

describe('connections', () => {
  it('are closed when unused for the idle time', async () => {
    const { cluster, nodes, clock, start } = await setUp({
      ids: ['a'],
      connectionIdleTimeout: 5_000,
      healthCheckConfig: { enabled: false },
    });
    await start();
    await call(cluster);
    await clock.advance(4_000);
    await call(cluster);
    await clock.advance(4_999);
    expect(nodes.of('a')).toMatchObject({ opened: 1, closed: 0 });
    await clock.advance(1);
    expect(nodes.of('a')).toMatchObject({ opened: 1, closed: 1 });
  });

  it('are not used beyond the life of the credentials or of the caller', async () => {
    const { cluster, nodes, clock, start } = await setUp({
      ids: ['a'],
      healthCheckConfig: { enabled: false },
      credentials: (_node, principal) => ({ headers: {}, ...(principal?.id === 'short' ? { expiresAt: clock.now() + 1_000 } : {}) }),
    });
    await start();
    const short = { context: testContext({ principal: testPrincipal({ id: 'short' }) }) };
    const dated = { context: testContext({ principal: testPrincipal({ id: 'dated', expiresAt: clock.now() + 1_000 }) }) };
    for (const options of [short, dated, short, dated]) await call(cluster, options);
    expect(nodes.of('a').opened).toBe(2);
    await clock.advance(1_000);
    for (const options of [short, dated]) await call(cluster, options);
    expect(nodes.of('a')).toMatchObject({ opened: 4, closed: 2 });
  });

  it('are closed under calls in progress, also of nodes that have left', async () => {
    const { cluster, nodes, start, setNodes } = await setUp({ ids: ['a', 'b'] });
    await start();
    nodes.of('a').answer = never;
    call(cluster, { preferredNode: 'a' }).catch(() => {});
    await settle();
    setNodes(nodes.list('b'));
    await cluster.close();
    expect(nodes.of('a').closed).toBe(nodes.of('a').opened);
  });

  it('and timers are gone after close', async () => {
    const { cluster, nodes, clock, start } = await setUp({ circuitBreakerConfig: { failureThreshold: 1 } });
    await start();
    nodes.of('a').answer = draining;
    await call(cluster);
    await cluster.close();
    for (const id of ['a', 'b']) expect(nodes.of(id).closed).toBe(nodes.of(id).opened);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('metrics', () => {
  it('count calls, latency and throughput', async () => {
    const { cluster, nodes, clock, start } = await setUp({ ids: ['a'], healthCheckConfig: { enabled: false } });
    await start();
    nodes.of('a').answer = async () => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 40));
      return { isError: true, content: [] };
    };
    for (let i = 0; i < 5; i += 1) {
      const running = call(cluster);
      await clock.advance(40);
      await running;
    }
    nodes.of('a').down = true;
    await call(cluster).catch(() => {});
    await clock.advance(1_800);
    expect(cluster.getClusterMetrics()).toEqual({
      totalNodes: 1,
      healthyNodes: 1,
      ejectedNodes: 0,
      panic: false,
      totalRequests: 6,
      successfulRequests: 5,
      failedRequests: 1,
      retries: 0,
      hedges: 0,
      retriesRefused: 0,
      averageLatency: 40,
      circuitBreakerTrips: 0,
      ejections: 0,
      throughput: 3,
      nodes: [expect.objectContaining({ id: 'a', totalRequests: 6, failedRequests: 1, averageLatency: 40, inFlight: 0 })],
    });
    await clock.advance(60_000);
    expect(cluster.getClusterMetrics().throughput).toBe(0);
  });

  it('are told at most once a second', async () => {
    const { cluster, clock, start } = await setUp({ healthCheckConfig: { enabled: false } });
    await start();
    const told = vi.fn();
    const stop = cluster.on('metricsChange', told);
    await clock.advance(1_000);
    told.mockClear();
    for (let i = 0; i < 10; i += 1) await call(cluster);
    expect(told).not.toHaveBeenCalled();
    await clock.advance(1_000);
    expect(told).toHaveBeenCalledTimes(1);
    expect(told.mock.lastCall?.[0]).toMatchObject({ totalRequests: 10 });
    stop();
    await call(cluster);
    await clock.advance(1_000);
    expect(told).toHaveBeenCalledTimes(1);
  });
});

describe('the configuration', () => {
  const consul = { serviceName: 's', endpoints: ['http://127.0.0.1:8500'] };
  const outside = { namespace: 'default', serviceAccountFolder: '/nowhere' };
  const good: DistributedMCPConfig = {
    clusterName: 'c',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 's', endpoints: ['http://a.test/mcp'] },
  };

  it.each<[string, Record<string, unknown>]>([
    ['clusterName', { clusterName: '' }],
    ['discoveryMethod', { discoveryMethod: 'zookeeper' }],
    ['loadBalancingStrategy', { loadBalancingStrategy: 'random' }],
    ['loadBalancingStrategy', { loadBalancingStrategy: new RoundRobinBalancer() }],
    ['stickyConfig.loadFactor', { stickyConfig: { loadFactor: 1 } }],
    ['localityConfig.region', { localityConfig: { region: '' } }],
    ['localityConfig.failover', { localityConfig: { region: 'eu', failover: ['us', 'eu'] } }],
    ['localityConfig.threshold', { localityConfig: { region: 'eu', threshold: 0 } }],
    ['routingRules[0].nodes', { routingRules: [{ nodes: {} }] }],
    ['routingRules[0].percentage', { routingRules: [{ nodes: { version: '2' }, percentage: 101 }] }],
    ['routingRules[1].strategy', { routingRules: [{ nodes: { region: 'eu' } }, { nodes: { region: 'us' }, strategy: 'best' }] }],
    ['routingRules[0].tools', { routingRules: [{ tools: [], nodes: { region: 'eu' } }] }],
    ['routingRules[0].otherwise', { routingRules: [{ nodes: { region: 'eu' }, otherwise: 'wait' }] }],
    ['outlierDetectionConfig.maxEjectedShare', { outlierDetectionConfig: { maxEjectedShare: 10 } }],
    ['outlierDetectionConfig.consecutive5xx', { outlierDetectionConfig: { consecutive5xx: 0 } }],
    ['panicThreshold', { panicThreshold: 50 }],
    ['slowStartConfig.minShare', { slowStartConfig: { minShare: 0 } }],
    ['slowStartConfig.aggression', { slowStartConfig: { aggression: 0 } }],
    ['bulkheadConfig.maxQueue', { bulkheadConfig: { maxQueue: -1 } }],
    ['retry.budget', { retry: { budget: 20 } }],
    ['retry.exactlyOnce', { retry: { exactlyOnce: 'yes' } }],
    ['upstreamSessions', { upstreamSessions: 'each' }],
    ['retry.perTryTimeout', { retry: { perTryTimeout: 0 } }],
    ['hedgingConfig.delay', { hedgingConfig: {} }],
    ['healthCheckConfig.degradedLatency', { healthCheckConfig: { degradedLatency: 0 } }],
    ['stateManagementConfig.provider', { stateManagementConfig: { provider: 'etcd' } }],
    ['stateManagementConfig', { stateManagementConfig: { provider: 'redis', store: new MemoryStateStore() } }],
    ['consistentHashing', { consistentHashing: true }],
    ['circuitBreakerConfig.failureThreshold', { circuitBreakerConfig: { failureThreshold: 0 } }],
    ['circuitBreakerConfig.halfOpenRequests', { circuitBreakerConfig: { halfOpenRequests: 2 } }],
    ['healthCheckConfig.interval', { healthCheckConfig: { interval: 1.5 } }],
    ['requestTimeout', { requestTimeout: -1 }],
    ['retry.attempts', { retry: { attempts: 'many' } }],
    ['credentials', { credentials: 'token' }],
    ['discoveryConfig', { discoveryConfig: { serviceName: 's' } }],
    ['discoveryConfig.serviceName', { discoveryConfig: { serviceName: '', endpoints: [] } }],
    ['discoveryConfig.endpoints[0]', { discoveryConfig: { serviceName: 's', endpoints: ['ftp://a'] } }],
    ['discoveryConfig.nodes[0].url', { discoveryConfig: { serviceName: 's', nodes: [{ id: 'a', url: 'a' }] } }],
    ['discoveryConfig.discovery', { discoveryMethod: 'custom', discoveryConfig: { serviceName: 's' } }],
    ['discoveryConfig.endpoints', { discoveryMethod: 'etcd', discoveryConfig: { serviceName: 's' } }],
    ['discoveryConfig.nodes', { discoveryMethod: 'etcd', discoveryConfig: { serviceName: 's', nodes: [], endpoints: ['http://a'] } }],
    ['discoveryConfig.consul.token', { discoveryMethod: 'consul', discoveryConfig: { ...consul, consul: { token: '' } } }],
    ['discoveryConfig.consul.tokens', { discoveryMethod: 'consul', discoveryConfig: { ...consul, consul: { tokens: 'x' } } }],
    ['discoveryConfig.endpoints[0]', { discoveryMethod: 'consul', discoveryConfig: { ...consul, endpoints: ['consul:8500'] } }],
    ['discoveryConfig.etcd', { discoveryMethod: 'consul', discoveryConfig: { ...consul, etcd: {} } }],
    ['discoveryConfig.etcd.leaseTtlMs', { discoveryMethod: 'etcd', discoveryConfig: { ...consul, etcd: { leaseTtlMs: 1 } } }],
    ['discoveryConfig.endpoints', { discoveryMethod: 'dns', discoveryConfig: consul }],
    ['discoveryConfig.dns.port', { discoveryMethod: 'dns', discoveryConfig: { serviceName: 's', dns: { record: 'A' } } }],
    ['discoveryConfig.kubernetes.tls.ca', { discoveryMethod: 'kubernetes', discoveryConfig: { serviceName: 's', kubernetes: outside } }],
    ['discoveryConfig.kubernetes.port', { discoveryMethod: 'kubernetes', discoveryConfig: { serviceName: 's', kubernetes: { port: -1 } } }],
  ])('is refused for a wrong %s', (option, wrong) => {
    expect(() => new DistributedMCPCluster({ ...good, ...wrong } as DistributedMCPConfig)).toThrow(
      expect.objectContaining({ name: 'ConfigurationError', option }),
    );
  });

  it('names nodes given as endpoints by their place', async () => {
    const nodes = new FakeNodes();
    const cluster = new DistributedMCPCluster({ ...good, connect: nodes.connect });
    open.push(cluster);
    await cluster.start();
    expect(cluster.getServiceNodes()).toMatchObject([{ id: 'node-1', url: 'http://a.test/mcp' }]);
  });
});
