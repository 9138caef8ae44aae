import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ServiceNode } from '@mcp-blocks/core';
import { discoveryContract, ManualClock, serviceRegistryContract } from '@mcp-blocks/core/testing';
import { type RunningServices, startServices } from '@mcp-blocks/services';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { ConsulDiscovery, type ConsulDiscoveryOptions, DistributedMCPCluster } from '../src/index.js';

let services: RunningServices;
let url = '';
beforeAll(async () => {
  services = await startServices(['consul']);
  url = services.env['MCP_BLOCKS_CONSUL_URL'] as string;
});
afterAll(() => services.stop());

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});
function consul(options: Partial<ConsulDiscoveryOptions> = {}): ConsulDiscovery {
  const discovery = new ConsulDiscovery({ endpoints: [url], random: () => 0, ...options });
  open.push(discovery);
  return discovery;
}

/** What an operator with curl would do. */
async function command(method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(new URL(path, url), { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

/** The tests share one agent: each sees the contract's service names with an ending of its own. */
function apart(discovery: ConsulDiscovery) {
  const ending = `-${randomUUID()}`;
  return {
    nodes: (service: string) => discovery.nodes(service + ending),
    watch: (service: string, ...rest: [(nodes: readonly ServiceNode[]) => void, ((error: Error) => void)?]) =>
      discovery.watch(service + ending, ...rest),
    register: (service: string, node: ServiceNode) => discovery.register(service + ending, node),
    close: () => discovery.close(),
    as: (other: ConsulDiscovery) => ({
      nodes: (service: string) => other.nodes(service + ending),
      watch: (service: string, ...rest: [(nodes: readonly ServiceNode[]) => void, ((error: Error) => void)?]) =>
        other.watch(service + ending, ...rest),
      close: () => other.close(),
      register: (service: string, node: ServiceNode) => other.register(service + ending, node),
    }),
  };
}

describe('ConsulDiscovery keeps the contract of Discovery', () => {
  for (const { name, run } of discoveryContract) {
    it(name, async () => {
      const discovery = apart(new ConsulDiscovery({ endpoints: [url] }));
      const operator = discovery.as(consul());
      const leaves = new Map<string, Map<string, () => Promise<void>>>();
      await run({
        discovery,
        async setNodes(service, nodes) {
          const known = leaves.get(service) ?? new Map<string, () => Promise<void>>();
          leaves.set(service, known);
          const ids = new Set(nodes.map(({ id }) => id));
          for (const [id, leave] of known) {
            if (ids.has(id)) continue;
            known.delete(id);
            await leave();
          }
          for (const node of nodes) known.set(node.id, await operator.register(service, node));
        },
      });
    });
  }
});

describe('ConsulDiscovery keeps the contract of ServiceRegistry', () => {
  for (const { name, run } of serviceRegistryContract) {
    it(name, () => {
      const registry = apart(new ConsulDiscovery({ endpoints: [url] }));
      return run({ registry, observer: registry.as(new ConsulDiscovery({ endpoints: [url] })) });
    });
  }
});

const node: ServiceNode = { id: 'a', url: 'http://127.0.0.1:8080/mcp' };
const freshName = () => `orders-${randomUUID()}`;

function watching(discovery: ConsulDiscovery, service: string) {
  const lists: (readonly ServiceNode[])[] = [];
  const errors: Error[] = [];
  const started = discovery.watch(
    service,
    (list) => lists.push(list),
    (error) => errors.push(error),
  );
  return { lists, errors, started, newest: () => lists.at(-1) };
}

describe('entries made by others', () => {
  it.each([
    ['with Consul’s own fields', { Address: '10.1.2.3', Port: 80 }, { url: 'http://10.1.2.3:80/mcp' }],
    ['on an IPv6 address', { Address: 'fd00::7', Port: 80 }, { url: 'http://[fd00::7]:80/mcp' }],
    ['with the address of its machine', { Port: 80 }, { url: 'http://127.0.0.1:80/mcp' }],
    ['with a weight', { Address: '10.1.2.3', Port: 80, Weights: { Passing: 5, Warning: 1 } }, { url: 'http://10.1.2.3:80/mcp', weight: 5 }],
    [
      'with a scheme, a path, a region and words of its own',
      { Address: '10.1.2.3', Port: 80, Meta: { 'mcp-scheme': 'ws', 'mcp-path': '/ws', 'mcp-region': 'eu', team: 'red' } },
      { url: 'ws://10.1.2.3:80/ws', region: 'eu', metadata: { team: 'red' } },
    ],
  ])('are nodes: %s', async (_what, entry, expected) => {
    const service = freshName();
    await command('PUT', '/v1/agent/service/register', { ID: service, Name: service, ...entry });
    expect(await consul().nodes(service)).toEqual([{ id: service, ...expected }]);
  });

  it('that are no nodes are left out and reported', async () => {
    const service = freshName();
    await command('PUT', '/v1/agent/service/register', { ID: service, Name: service, Port: 80, Meta: { 'mcp-url': 'file:///etc/passwd' } });
    const view = watching(consul(), service);
    await view.started;
    expect(view.lists).toEqual([[]]);
    expect(view.errors.map(({ message }) => message)).toEqual([expect.stringContaining(service)]);
  });

  it('are left out while their checks fail, and come back', async () => {
    const service = freshName();
    const Check = { CheckID: service, TTL: '10m', Status: 'passing' };
    await command('PUT', '/v1/agent/service/register', { ID: service, Name: service, Address: '10.1.2.3', Port: 80, Check });
    const view = watching(consul(), service);
    await view.started;
    expect(view.newest()).toHaveLength(1);
    await command('PUT', `/v1/agent/check/fail/${service}`);
    await vi.waitFor(() => expect(view.newest()).toHaveLength(0));
    await command('PUT', `/v1/agent/check/pass/${service}`);
    await vi.waitFor(() => expect(view.newest()).toHaveLength(1));
    const told = view.lists.length;
    // The output of a check moves Consul's index and is no change of the nodes.
    await command('PUT', `/v1/agent/check/update/${service}`, { Status: 'passing', Output: 'still here' });
    await command('PUT', `/v1/agent/check/fail/${service}`);
    await vi.waitFor(() => expect(view.newest()).toHaveLength(0));
    expect(view.lists).toHaveLength(told + 1);
  });
});

describe('a registration', () => {
  it('goes by itself when its process dies', async () => {
    const service = freshName();
    // Its clock stands still, so that it says nothing: to Consul it is dead.
    await consul({ check: { ttlMs: 1_000 }, clock: new ManualClock() }).register(service, node);
    const observer = consul();
    expect(await observer.nodes(service)).toEqual([node]);
    await vi.waitFor(async () => expect(await observer.nodes(service)).toEqual([]), { timeout: 10_000, interval: 100 });
  });

  it('is renewed, and entered again when the agent has forgotten it', async () => {
    const service = freshName();
    const clock = new ManualClock();
    await consul({ check: { ttlMs: 600_000 }, clock }).register(service, node);
    const [check] = (await command('GET', `/v1/health/checks/${service}`)) as { CheckID: string }[];
    await command('PUT', `/v1/agent/check/fail/${encodeURIComponent(check!.CheckID)}`);
    const observer = consul();
    await vi.waitFor(async () => expect(await observer.nodes(service)).toEqual([]));
    await clock.advance(200_000);
    await vi.waitFor(async () => expect(await observer.nodes(service)).toEqual([node]));

    await command('PUT', `/v1/agent/service/deregister/${encodeURIComponent(`${service}:a`)}`);
    await vi.waitFor(async () => expect(await observer.nodes(service)).toEqual([]));
    await clock.advance(200_000);
    await vi.waitFor(async () => expect(await observer.nodes(service)).toEqual([node]));
  });

  it('may leave the question to the agent, which asks the node itself', async () => {
    const service = freshName();
    let status = 200;
    const readiness = createServer((_request, response) => response.writeHead(status).end());
    await new Promise<void>((resolve) => readiness.listen(0, '127.0.0.1', resolve));
    open.push({ close: () => readiness.closeAllConnections() ?? readiness.close() });
    const readyz = `http://127.0.0.1:${(readiness.address() as AddressInfo).port}/readyz`;
    await consul({ check: { url: readyz, intervalMs: 100 } }).register(service, node);
    const view = watching(consul(), service);
    await view.started;
    expect(view.newest()).toEqual([node]);
    status = 503;
    await vi.waitFor(() => expect(view.newest()).toEqual([]), { timeout: 10_000 });
    status = 200;
    await vi.waitFor(() => expect(view.newest()).toEqual([node]), { timeout: 10_000 });
  });

  it('refuses a node Consul cannot hold', async () => {
    const metadata = { long: 'x'.repeat(600) };
    await expect(consul().register('orders', { ...node, metadata })).rejects.toMatchObject({ option: 'node' });
  });
});

it('brings the nodes to a cluster that names it', async () => {
  const service = freshName();
  await consul().register(service, node);
  const cluster = new DistributedMCPCluster({
    clusterName: 'orders',
    discoveryMethod: 'consul',
    discoveryConfig: { serviceName: service, endpoints: [url], consul: { datacenter: 'dc1' } },
    healthCheckConfig: { enabled: false },
  });
  open.push(cluster);
  await cluster.start();
  expect(cluster.getServiceNodes()).toMatchObject([node]);
});

it('keeps the last list while Consul is away, reports it, goes on with another agent and learns what it missed', async () => {
  const service = freshName();
  let away = false;
  // An agent of its own in front of the real one, which can go away.
  const relay = createServer(async (request, response) => {
    const answer = away ? undefined : await fetch(new URL(request.url ?? '', url)).catch(() => undefined);
    if (answer === undefined) response.destroy();
    else response.writeHead(answer.status, { 'x-consul-index': answer.headers.get('x-consul-index') ?? '' }).end(await answer.text());
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  open.push({ close: () => relay.closeAllConnections() ?? relay.close() });
  const relayUrl = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`;
  const registrar = consul();
  await registrar.register(service, node);
  const view = watching(consul({ endpoints: [relayUrl] }), service);
  const both = watching(consul({ endpoints: [relayUrl, url] }), service);
  await Promise.all([view.started, both.started]);
  away = true;
  relay.closeAllConnections();
  await vi.waitFor(() => expect(view.errors.length).toBeGreaterThan(0));
  expect(view.newest()).toEqual([node]);
  const second = { ...node, id: 'b' };
  await registrar.register(service, second);
  await vi.waitFor(() => expect(both.newest()).toHaveLength(2));
  expect(view.newest()).toEqual([node]);
  away = false;
  await vi.waitFor(() => expect(view.newest()).toHaveLength(2), { timeout: 10_000 });
});

it.each([
  ['nodes', (discovery: ConsulDiscovery) => discovery.nodes('orders')],
  ['watch', (discovery: ConsulDiscovery) => discovery.watch('orders', () => {})],
  ['register', (discovery: ConsulDiscovery) => discovery.register('orders', node)],
])('without an agent %s is refused as unavailable', async (_name, ask) => {
  await expect(ask(consul({ endpoints: ['http://127.0.0.1:1'] }))).rejects.toMatchObject({ code: 'unavailable' });
});

it.each([
  [{ endpoints: [] }, 'endpoints'],
  [{ endpoints: ['redis://x'] }, 'endpoints[0]'],
  [{ endpoints: ['http://user:secret@x'] }, 'endpoints[0]'],
  [{ endpoints: ['http://x'], check: { ttlMs: 10 } }, 'check.ttlMs'],
  [{ endpoints: ['http://x'], forgetAfterMs: 10 }, 'forgetAfterMs'],
  [{ endpoints: ['http://x'], defaults: { path: 'mcp' } }, 'defaults.path'],
  [{ endpoints: ['http://x'], token: '' }, 'token'],
])('wrong options are refused at once: %j', (options, option) => {
  const make = () => new ConsulDiscovery(options);
  expect(make).toThrow(expect.objectContaining({ option }));
  expect(make).not.toThrow(/secret/);
});
