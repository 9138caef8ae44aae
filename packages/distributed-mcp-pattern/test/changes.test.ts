import { type Principal, RpcError, type RpcService, type ServiceEvent, ServiceEventEmitter } from '@mcp-blocks/core';
import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Connect, createGateway, DistributedMCPCluster, type DistributedMCPConfig, TransportFailure } from '../src/index.js';
import { startLegacyNode } from './legacy-node.js';

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A modern node whose one tool and one resource change on demand. */
async function startNode(port = 0) {
  const events = new ServiceEventEmitter();
  const subscriptions: { principal: string; ended: () => boolean }[] = [];
  const node = {
    events,
    subscriptions,
    tool: 'before',
    lists: 0,
    url: '',
    stop: () => Promise.resolve(),
  };
  const service: RpcService = {
    info: { name: 'node', version: '1', capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } } },
    events,
    handler: async ({ method, params }, { subscription, principal }) => {
      if (method === 'tools/list') {
        node.lists += 1;
        return { tools: [{ name: node.tool, inputSchema: { type: 'object' } }] };
      }
      if (method === 'resources/list') return { resources: [{ uri: 'test://watched', name: 'watched' }] };
      if (method === 'resources/templates/list') return { resourceTemplates: [] };
      if (params.uri !== 'test://watched') throw new RpcError('resource_not_found', 'Unknown resource');
      subscriptions.push({ principal: principal.id, ended: () => subscription?.aborted === true });
      return {};
    },
  };
  const listener = http({ port });
  const authenticator = {
    name: 'test',
    authenticate: async (request: { header(name: string): string | undefined }): Promise<Principal | undefined> => {
      const token = request.header('authorization');
      return token === undefined ? undefined : testPrincipal({ id: token });
    },
  };
  const server = new SecureMCPServer({ service, allowAnonymous: true, authenticators: [authenticator], listeners: [listener] });
  await server.start();
  node.url = listener.endpoint as string;
  node.stop = () => server.stop();
  open.push(node.stop);
  return node;
}

async function startGateway(urls: readonly string[], config: Partial<DistributedMCPConfig> = {}) {
  const cluster = new DistributedMCPCluster({
    clusterName: 'changes',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'changes', endpoints: [...urls] },
    healthCheckConfig: { enabled: false },
    ...config,
  });
  await cluster.start();
  const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { changes: cluster }, listTtlMs: 3_600_000 });
  const listener = http({ port: 0 });
  const authenticator = {
    name: 'test',
    authenticate: async (request: { header(name: string): string | undefined }): Promise<Principal | undefined> => {
      const token = request.header('authorization');
      return token === undefined ? undefined : testPrincipal({ id: token });
    },
  };
  const server = new SecureMCPServer({ service: gateway, allowAnonymous: true, authenticators: [authenticator], listeners: [listener] });
  await server.start();
  open.push(
    () => cluster.close(),
    () => gateway.close(),
    () => server.stop(),
  );
  return listener.endpoint as string;
}

async function connect(url: string, era: 'modern' | 'legacy', user?: string) {
  const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode: era === 'modern' ? 'auto' : 'legacy' } });
  const told: string[] = [];
  client.setNotificationHandler('notifications/tools/list_changed', () => void told.push('tools'));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void told.push(params.uri));
  const requestInit = user === undefined ? {} : { requestInit: { headers: { authorization: user } } };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), requestInit));
  open.push(() => client.close());
  return { client, told };
}

/** Subscribes as each era does; resolves with how to end it. */
async function subscribe(client: Client, uri: string): Promise<() => Promise<unknown>> {
  if (client.getProtocolEra() === 'modern') {
    const subscription = await client.listen({ resourceSubscriptions: [uri] });
    return () => subscription.close();
  }
  await client.subscribeResource({ uri });
  return () => client.unsubscribeResource({ uri });
}

const listening = (node: { events: ServiceEventEmitter }, count: number) =>
  vi.waitFor(() => expect(node.events.listenerCount).toBe(count), { timeout: 5_000 });

describe.each(['modern', 'legacy'] as const)('a %s client of a gateway', (era) => {
  it('is told when the lists of any node change, and gets the new ones', async () => {
    const nodes = [await startNode(), await startNode()] as const;
    const { client, told } = await connect(await startGateway(nodes.map(({ url }) => url)), era);
    if (era === 'modern') await client.listen({ toolsListChanged: true });
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['before']);
    for (const node of nodes) {
      await listening(node, 1);
      for (const each of nodes) each.tool = `after-${nodes.indexOf(node)}`;
      told.length = 0;
      node.events.publish({ kind: 'tools_list_changed' });
      await vi.waitFor(() => expect(told).toContain('tools'));
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual([`after-${nodes.indexOf(node)}`]);
    }
    await client.close();
    if (era === 'modern') for (const node of nodes) await listening(node, 0);
  });

  it('is told of a resource it subscribed to, until it unsubscribes', async () => {
    const node = await startNode();
    const { client, told } = await connect(await startGateway([node.url]), era);
    const end = await subscribe(client, 'test://watched');
    node.events.publish({ kind: 'resource_updated', uri: 'test://watched' });
    await vi.waitFor(() => expect(told).toEqual(['test://watched']));
    await end();
    await vi.waitFor(() => expect(node.subscriptions.map(({ ended }) => ended())).toEqual([true]));
  });

  it('is refused what the service refuses', async () => {
    const node = await startNode();
    const { client } = await connect(await startGateway([node.url]), era);
    await expect(subscribe(client, 'test://none')).rejects.toThrow('test://none');
  });

  it('is told by a legacy server too', async () => {
    const subscribed: string[] = [];
    const node = await startLegacyNode(() => {
      const server = new McpServerV1({ name: 'v1', version: '1' }, { capabilities: { resources: { subscribe: true } } });
      server.registerTool('one', {}, () => ({ content: [] }));
      server.registerResource('watched', 'test://watched', {}, () => ({ contents: [] }));
      server.server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
        subscribed.push(`+${params.uri}`);
        return {};
      });
      server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
        subscribed.push(`-${params.uri}`);
        return {};
      });
      return server;
    });
    open.push(() => node.kill());
    const { client, told } = await connect(await startGateway([node.url]), era);
    if (era === 'modern') await client.listen({ toolsListChanged: true });
    const end = await subscribe(client, 'test://watched');
    expect(subscribed).toEqual(['+test://watched']);
    await vi.waitFor(() => expect(node.requests.filter((request) => request === 'GET').length).toBeGreaterThan(0));
    for (const server of node.sessions.values()) {
      await server.server.sendResourceUpdated({ uri: 'test://watched' });
      server.sendToolListChanged();
    }
    await vi.waitFor(() => expect([...told].sort()).toEqual(['test://watched', 'tools']));
    await end();
    await vi.waitFor(() => expect(subscribed).toEqual(['+test://watched', '-test://watched']));
  });
});

it('many clients are one subscriber at a node, until the last has gone', async () => {
  const node = await startNode();
  const url = await startGateway([node.url]);
  const callers = [await connect(url, 'modern'), await connect(url, 'modern'), await connect(url, 'legacy')];
  for (const { client } of callers) await subscribe(client, 'test://watched');
  expect(node.subscriptions).toHaveLength(1);
  node.events.publish({ kind: 'resource_updated', uri: 'test://watched' });
  for (const { told } of callers) await vi.waitFor(() => expect(told).toEqual(['test://watched']));
  await callers[0]?.client.close();
  await callers[1]?.client.close();
  await settle();
  expect(node.subscriptions[0]?.ended()).toBe(false);
  await callers[2]?.client.unsubscribeResource({ uri: 'test://watched' });
  await vi.waitFor(() => expect(node.subscriptions[0]?.ended()).toBe(true));
});

it('callers with credentials of their own have subscriptions of their own', async () => {
  const node = await startNode();
  const credentials: DistributedMCPConfig['credentials'] = (_node, principal) => ({
    headers: { authorization: `for ${principal?.id ?? 'gateway'}` },
  });
  const url = await startGateway([node.url], { credentials });
  for (const user of ['alice', 'bob', 'alice']) await subscribe((await connect(url, 'modern', user)).client, 'test://watched');
  expect(node.subscriptions.map(({ principal }) => principal)).toEqual(['for alice', 'for bob']);
});

it('after a gap, what may have changed is reported as changed', async () => {
  const node = await startNode();
  const { client, told } = await connect(await startGateway([node.url]), 'modern');
  await client.listen({ toolsListChanged: true });
  await client.listTools();
  await listening(node, 1);
  await node.stop();
  const again = await startNode(Number(new URL(node.url).port));
  again.tool = 'after';
  await vi.waitFor(() => expect(told).toContain('tools'), { timeout: 10_000 });
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['after']);
});

describe('a watched node', () => {
  /** Nodes in memory that agree to everything. */
  function setUp(config: Partial<DistributedMCPConfig> = {}) {
    const clock = new ManualClock();
    const state = { opened: 0, closed: 0, alive: true, refuse: undefined as Error | undefined, headers: [] as unknown[] };
    const watches: { uri: string | undefined; tell: (event: ServiceEvent) => void }[] = [];
    const connect: Connect = async (_node, { headers }) => {
      state.opened += 1;
      state.headers.push(headers);
      let end: () => void = () => {};
      const ended = new Promise<void>((resolve) => (end = resolve));
      let closed = false;
      return {
        get closed() {
          return closed;
        },
        request: async () => ({}),
        ping: () => (state.alive ? Promise.resolve() : Promise.reject(new TransportFailure('dead', { delivery: 'unknown' }))),
        watch: async (uri, tell) => {
          if (state.refuse !== undefined) throw state.refuse;
          watches.push({ uri, tell });
          return { ended, close: async () => {} };
        },
        close: async () => {
          closed = true;
          state.closed += 1;
          end();
        },
      };
    };
    const cluster = new DistributedMCPCluster({
      clusterName: 'c',
      discoveryMethod: 'static',
      discoveryConfig: { serviceName: 's', endpoints: ['http://a.test/mcp'] },
      healthCheckConfig: { enabled: false },
      clock,
      random: () => 0,
      connect,
      ...config,
    });
    open.push(() => cluster.close());
    return { clock, state, watches, cluster };
  }

  it('is connected to again when it gives no sign of life', async () => {
    const { clock, state, watches, cluster } = setUp();
    await cluster.start();
    const told: string[] = [];
    await cluster.watch({ uri: 'a:b' }, ({ kind }) => told.push(kind)).ready;
    await clock.advance(15_000);
    expect(state.opened).toBe(1);
    state.alive = false;
    await clock.advance(15_000);
    expect(state.closed).toBe(1);
    state.alive = true;
    await clock.advance(1_000);
    expect([state.opened, watches.length, told]).toEqual([2, 2, ['resource_updated']]);
  });

  it('is connected to again before the credentials are over', async () => {
    const { clock, state, cluster } = setUp({
      credentials: () => ({ headers: { token: String(clock.now()) }, expiresAt: clock.now() + 20_000 }),
    });
    await cluster.start();
    await cluster.watch({}, () => {}).ready;
    await clock.advance(19_999);
    expect(state.opened).toBe(1);
    await clock.advance(1_000);
    expect([state.opened, state.closed, new Set(state.headers.map((header) => JSON.stringify(header))).size]).toEqual([2, 1, 2]);
  });

  it.each([
    ['refuses', new RpcError('forbidden', 'No'), 'forbidden', 1],
    ['is out of reach', new TransportFailure('lost', { delivery: 'unknown' }), 'unavailable', 3],
  ])('that %s is said to, and asked again only where that may help', async (_what, refuse, code, attempts) => {
    const { clock, state, cluster } = setUp();
    await cluster.start();
    const timers = clock.pendingTimers;
    state.refuse = refuse;
    const watch = cluster.watch({ uri: 'a:b' }, () => {});
    await expect(watch.ready).rejects.toMatchObject({ code });
    await clock.advance(125);
    await clock.advance(250);
    expect(state.opened).toBe(attempts);
    watch.close();
    await settle();
    expect(clock.pendingTimers).toBe(timers);
  });

  it('is left when nobody watches it any more, and when the cluster closes', async () => {
    const { clock, state, cluster } = setUp();
    await cluster.start();
    const timers = clock.pendingTimers;
    const [a, b] = [cluster.watch({}, () => {}), cluster.watch({ uri: 'a:b' }, () => {})];
    await Promise.all([a.ready, b.ready]);
    a.close();
    a.close();
    await settle();
    expect([state.opened, state.closed]).toEqual([1, 0]);
    b.close();
    await settle();
    expect([state.closed, clock.pendingTimers]).toEqual([1, timers]);
    await cluster.watch({}, () => {}).ready;
    await cluster.close();
    expect([state.opened, state.closed, clock.pendingTimers]).toEqual([2, 2, 0]);
  });
});
