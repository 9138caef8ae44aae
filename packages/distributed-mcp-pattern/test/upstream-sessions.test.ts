import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { testContext } from '@mcp-blocks/core/testing';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterEach, describe, expect, it } from 'vitest';
import { DistributedMCPCluster, type DistributedMCPConfig } from '../src/index.js';
import { legacyServer, modernServer, Waits } from './asking-servers.js';
import { startHttpNode } from './http-node.js';
import { startLegacyNode } from './legacy-node.js';
import { type ProcessNode, redis, startProcess } from './processes.js';

const COUNTING = new URL('fixtures/counting-node.ts', import.meta.url);
const GATEWAY = new URL('fixtures/gateway-process.ts', import.meta.url);

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(program: URL, order: Parameters<typeof startProcess>[1]): Promise<ProcessNode> {
  const node = await startProcess(program, order);
  open.push(() => node.kill());
  return node;
}

const startNodes = () => Promise.all(['a', 'b'].map((id) => start(COUNTING, { id })));
const namesOf = (nodes: readonly ProcessNode[]) => nodes.map(({ id, url }) => ({ id, url }));

/** A TCP balancer: each connection goes to the next address. */
async function startBalancer(urls: string[]) {
  const sockets = new Set<Socket>();
  const taken: number[] = [];
  let turn = 0;
  const server = createServer((client) => {
    const index = turn++ % urls.length;
    taken.push(index);
    const upstream = connect(Number(new URL(urls[index] as string).port), '127.0.0.1');
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    taken,
    /** Sends everybody elsewhere from now on. */
    move(to: string[]) {
      urls = to;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A legacy client, each of whose requests comes over a connection of its own. */
async function caller(url: string) {
  const fetchAnew = (input: string | URL, init?: RequestInit) =>
    fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), connection: 'close' } });
  const client = new Client({ name: 'caller', version: '1' }, { versionNegotiation: { mode: 'legacy' } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: fetchAnew });
  await client.connect(transport);
  open.push(() => client.close());
  const call = async (name: string, options = {}) =>
    ((await client.callTool({ name }, options)) as { content: { text: string }[] }).content[0]?.text as string;
  return { client, count: () => call('count'), call, sessionId: transport.sessionId };
}

/** A connection that was open may break under the first calls, which are not repeated. */
async function afterFailures(count: () => Promise<string>): Promise<string> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const answer = await count().catch(() => undefined);
    if (answer !== undefined) return answer;
  }
  return count();
}

describe('legacy sessions through gateways in processes of their own, with Redis', { timeout: 180_000 }, () => {
  it('go on, at the same node and in the same session there, when the gateway is killed and another takes its place', async () => {
    const nodes = namesOf(await startNodes());
    const order = { id: 'gateway', nodes, redis: redis() };
    const first = await start(GATEWAY, order);
    const balancer = await startBalancer([first.url]);
    const [alice, bob] = [await caller(balancer.url), await caller(balancer.url)];
    const at = (await alice.count()).split(' ')[0] as string;
    expect(await alice.count()).toBe(`${at} 2`);
    expect(await bob.count()).toMatch(/^[ab] 1$/);
    await first.kill();
    const second = await start(GATEWAY, order);
    balancer.move([second.url]);
    expect(await alice.count()).toBe(`${at} 3`);
    expect(await bob.count()).toMatch(/^[ab] 2$/);
    const progress: number[] = [];
    await alice.call('progress', { onprogress: (one: { progress: number }) => progress.push(one.progress) });
    expect(progress).toEqual([1]);
  });

  it('are served by two gateways in turn, and at the same time', async () => {
    const nodes = namesOf(await startNodes());
    const order = { nodes, redis: redis() };
    const gateways = await Promise.all(['one', 'two'].map((id) => start(GATEWAY, { id, ...order })));
    const balancer = await startBalancer(gateways.map(({ url }) => url));
    const callers = await Promise.all(Array.from({ length: 4 }, () => caller(balancer.url)));
    for (const { count } of callers) {
      const counts = await Promise.all(Array.from({ length: 6 }, count));
      const at = counts[0]?.split(' ')[0] as string;
      expect(counts.sort()).toEqual([1, 2, 3, 4, 5, 6].map((n) => `${at} ${n}`));
      for (let n = 7; n <= 10; n += 1) expect(await count()).toBe(`${at} ${n}`);
    }
    const shares = [0, 1].map((index) => balancer.taken.filter((taken) => taken === index).length);
    expect(Math.min(...shares)).toBeGreaterThan(20);
  });

  it('move to another node when theirs is gone, for every gateway, and stay there when it is back', async () => {
    const nodes = await startNodes();
    const order = { nodes: namesOf(nodes), redis: redis() };
    const gateways = await Promise.all(['one', 'two'].map((id) => start(GATEWAY, { id, ...order })));
    const balancer = await startBalancer(gateways.map(({ url }) => url));
    const { count } = await caller(balancer.url);
    const at = (await count()).split(' ')[0] as string;
    expect(await count()).toBe(`${at} 2`);
    const [own, other] = at === 'a' ? [nodes[0]!, nodes[1]!] : [nodes[1]!, nodes[0]!];
    await own.kill();
    const answer = await afterFailures(count);
    expect(answer).toBe(`${other.id} 1`);
    for (let n = 2; n <= 4; n += 1) expect(await count()).toBe(`${other.id} ${n}`);
    await start(COUNTING, { id: own.id, port: Number(new URL(own.url).port) });
    for (let n = 5; n <= 8; n += 1) expect(await count()).toBe(`${other.id} ${n}`);
  });

  it('begin anew in a session that their node has lost, once for every gateway', async () => {
    const [node] = await startNodes();
    const order = { nodes: namesOf([node!]), redis: redis() };
    const gateways = await Promise.all(['one', 'two'].map((id) => start(GATEWAY, { id, ...order })));
    const balancer = await startBalancer(gateways.map(({ url }) => url));
    const { count } = await caller(balancer.url);
    for (let n = 1; n <= 3; n += 1) expect(await count()).toBe(`a ${n}`);
    await node!.kill();
    await start(COUNTING, { id: 'a', port: Number(new URL(node!.url).port) });
    const answer = await afterFailures(count);
    expect(answer).toBe('a 1');
    for (let n = 2; n <= 6; n += 1) expect(await count()).toBe(`a ${n}`);
  });
});

async function startCluster(url: string, config: Partial<DistributedMCPConfig> = {}) {
  const cluster = new DistributedMCPCluster({
    clusterName: 'counting',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'counting', endpoints: [url] },
    healthCheckConfig: { enabled: false },
    circuitBreakerConfig: { enabled: false },
    outlierDetectionConfig: { enabled: false },
    ...config,
  });
  open.push(() => cluster.close());
  await cluster.start();
  return cluster;
}

const inSession = (sessionId?: string) => ({
  context: testContext({ protocolVersion: '2025-11-25', ...(sessionId === undefined ? {} : { sessionId }) }),
});

it('a legacy node that was restarted is connected to anew, also where sessions are shared', { timeout: 180_000 }, async () => {
  const node = await start(COUNTING, { id: 'a' });
  const cluster = await startCluster(node.url);
  const count = async () => {
    const { content } = (await cluster.route('tools/call', { name: 'count' })) as { content: { text: string }[] };
    return content[0]?.text as string;
  };
  expect([await count(), await count()]).toEqual(['a 1', 'a 2']);
  await node.kill();
  await start(COUNTING, { id: 'a', port: Number(new URL(node.url).port) });
  expect(await afterFailures(count)).toBe('a 1');
});

describe('sessions of their own, in one process', () => {
  it('each caller has one at a legacy node, whatever it does at the same time; callers without one share', async () => {
    const node = await startLegacyNode(() => legacyServer(new Waits()));
    open.push(() => node.kill());
    const cluster = await startCluster(node.url, { upstreamSessions: 'own' });
    const list = (sessionId?: string) => cluster.route('tools/list', {}, inSession(sessionId));
    await Promise.all([list('s1'), list('s1'), list('s2'), list('s1')]);
    expect(node.sessions.size).toBe(2);
    await Promise.all([list(), list()]);
    expect(node.sessions.size).toBe(3);
    await cluster.close();
    // They are there for whoever goes on with them; the shared one is given back.
    expect(node.sessions.size).toBe(2);
  });

  it('one that its node has let go begins anew, and its calls with it', async () => {
    const node = await startLegacyNode(() => legacyServer(new Waits()));
    open.push(() => node.kill());
    const cluster = await startCluster(node.url, { upstreamSessions: 'own' });
    await cluster.route('tools/list', {}, inSession('s'));
    const [id] = node.sessions.keys();
    const response = await fetch(node.url, {
      method: 'DELETE',
      headers: { 'mcp-session-id': id as string, 'mcp-protocol-version': '2025-11-25' },
    });
    expect(response.status).toBe(200);
    expect(node.sessions.size).toBe(0);
    const lists = await Promise.all(Array.from({ length: 4 }, () => cluster.route('tools/list', {}, inSession('s'))));
    expect(lists).toHaveLength(4);
    expect(node.sessions.size).toBe(1);
  });

  it('a node without sessions has one connection for all', async () => {
    const node = await startHttpNode(() => modernServer(new Waits()));
    open.push(() => node.kill());
    const cluster = await startCluster(node.url, { upstreamSessions: 'own' });
    await cluster.route('tools/list', {}, inSession('first'));
    for (const id of ['a', 'b', 'c']) await cluster.route('tools/list', {}, inSession(id));
    // That of the first session, which asked, and the one of all.
    expect(cluster.getServiceNodes()[0]?.connections).toBe(2);
  });
});
