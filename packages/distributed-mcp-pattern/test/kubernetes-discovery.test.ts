import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceNode } from '@mcp-blocks/core';
import { discoveryContract } from '@mcp-blocks/core/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KubernetesDiscovery, type KubernetesDiscoveryOptions } from '../src/index.js';
import { KubernetesApiStandIn } from './kubernetes-api.js';

// A real API server for the contract: kubectl proxy & MCP_BLOCKS_KUBERNETES_URL=http://127.0.0.1:8001 npx vitest run <this file>
const REAL_URL = process.env['MCP_BLOCKS_KUBERNETES_URL'] ?? '';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

let api: KubernetesApiStandIn;
let url = '';
const open: { close(): unknown }[] = [];
beforeEach(async () => {
  api = new KubernetesApiStandIn();
  url = await api.start();
  open.push(api);
});
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});
function kubernetes(options: KubernetesDiscoveryOptions = {}): KubernetesDiscovery {
  const discovery = new KubernetesDiscovery({ server: url, namespace: 'default', random: () => 0, ...options });
  open.push(discovery);
  return discovery;
}

async function command(method: string, path: string, body?: unknown, server = url): Promise<void> {
  const content = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(new URL(path, server), { method, ...content });
  if (!response.ok && !(method === 'DELETE' && response.status === 404)) throw new Error(await response.text());
  await response.text();
}

interface Endpoint {
  readonly addresses: readonly string[];
  readonly conditions?: { readonly ready?: boolean | null };
  readonly zone?: string;
  readonly targetRef?: { readonly kind: string; readonly name: string };
}

function slice(name: string, service: string, endpoints: readonly Endpoint[], ports: readonly object[] = [{ name: 'http', port: 8080 }]) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: { name, labels: { 'kubernetes.io/service-name': service } },
    endpoints,
    ports,
  };
}
const create = (...given: Parameters<typeof slice>) => command('POST', SLICES, slice(...given));
const pod = (name: string, address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [address],
  conditions: { ready: true },
  targetRef: { kind: 'Pod', name },
  ...more,
});

/** Names as Kubernetes takes them. */
const label = (text: string) => text.toLowerCase().replace(/[^a-z0-9]+/g, '-');

const servers = [
  { what: 'the stand-in for the Kubernetes API', server: () => url },
  ...(REAL_URL === '' ? [] : [{ what: 'a real Kubernetes API server', server: () => REAL_URL }]),
];
describe.each(servers)('KubernetesDiscovery keeps the contract of Discovery on $what', ({ server }) => {
  for (const { name, run } of discoveryContract) {
    it(name, async () => {
      const ending = `-${randomUUID().slice(0, 8)}`;
      const inner = new KubernetesDiscovery({ server: server(), namespace: 'default' });
      const known = new Map<string, Set<string>>();
      await run({
        discovery: {
          nodes: (service) => inner.nodes(service + ending),
          watch: (service, ...rest) => inner.watch(service + ending, ...rest),
          close: () => inner.close(),
        },
        keeps: (node) => ({
          id: label(node.id),
          url: `http://${new URL(node.url).host}/mcp`,
          ...(node.region === undefined ? {} : { region: node.region }),
        }),
        async setNodes(service, nodes) {
          const named = (node: ServiceNode) => `${service}${ending}-${label(node.id)}`;
          const names = new Set(nodes.map(named));
          for (const old of known.get(service) ?? []) if (!names.has(old)) await command('DELETE', `${SLICES}/${old}`, undefined, server());
          known.set(service, names);
          for (const node of nodes) {
            const { hostname, port } = new URL(node.url);
            const endpoint = pod(label(node.id), hostname, node.region === undefined ? {} : { zone: node.region });
            // A real API server takes changes of a slice by PUT only; both take this.
            await command('DELETE', `${SLICES}/${named(node)}`, undefined, server());
            await command('POST', SLICES, slice(named(node), service + ending, [endpoint], [{ name: '', port: Number(port) }]), server());
          }
        },
      });
    });
  }
});

describe('endpoints', () => {
  it.each([
    ['that are ready', pod('a', '10.0.0.1'), { id: 'a', url: 'http://10.0.0.1:8080/mcp' }],
    ['that do not say', pod('a', '10.0.0.1', { conditions: {} }), { id: 'a', url: 'http://10.0.0.1:8080/mcp' }],
    ['in a zone', pod('a', '10.0.0.1', { zone: 'eu-1a' }), { id: 'a', url: 'http://10.0.0.1:8080/mcp', region: 'eu-1a' }],
    ['on IPv6', pod('a', 'fd00::1'), { id: 'a', url: 'http://[fd00::1]:8080/mcp' }],
    ['without a pod', { addresses: ['10.0.0.1'] }, { id: '10.0.0.1:8080', url: 'http://10.0.0.1:8080/mcp' }],
    ['that are not ready', pod('a', '10.0.0.1', { conditions: { ready: false } }), undefined],
  ])('%s', async (_what, endpoint, expected) => {
    await create('s', 'orders', [endpoint]);
    expect(await kubernetes().nodes('orders')).toEqual(expected === undefined ? [] : [expected]);
  });

  it('of several slices are one list, each once', async () => {
    await create('s1', 'orders', [pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
    await create('s2', 'orders', [pod('b', '10.0.0.2'), pod('c', '10.0.0.3')]);
    expect((await kubernetes().nodes('orders')).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  });

  it('are taken at the port asked for, by name or number', async () => {
    const ports = [
      { name: 'metrics', port: 9090 },
      { name: 'mcp', port: 8443 },
    ];
    await create('s', 'orders', [pod('a', '10.0.0.1')], ports);
    const expected = [{ id: 'a', url: 'wss://10.0.0.1:8443/ws' }];
    for (const port of ['mcp', 8443]) expect(await kubernetes({ port, scheme: 'wss', path: '/ws' }).nodes('orders')).toEqual(expected);
  });

  it.each([
    ['no such port', 'grpc', [{ name: 'http', port: 80 }]],
    [
      'several ports and none asked for',
      undefined,
      [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ],
    ],
  ])('with %s are left out and reported', async (_what, port, ports) => {
    await create('s', 'orders', [pod('a', '10.0.0.1')], ports);
    const lists: unknown[] = [];
    const errors: string[] = [];
    await kubernetes(port === undefined ? {} : { port }).watch(
      'orders',
      (list) => lists.push(list),
      ({ message }) => errors.push(message),
    );
    expect(lists).toEqual([[]]);
    expect(errors).toEqual([expect.stringContaining("EndpointSlice 's'")]);
  });
});

describe('a watch', () => {
  async function watching(options: KubernetesDiscoveryOptions = {}) {
    const lists: (readonly ServiceNode[])[] = [];
    const errors: Error[] = [];
    await kubernetes(options).watch(
      'orders',
      (list) => lists.push(list),
      (error) => errors.push(error),
    );
    const ids = () => lists.at(-1)?.map(({ id }) => id);
    await vi.waitFor(() => expect(api.openWatches).toBe(1));
    return { lists, errors, ids };
  }

  it('that the server ends goes on where it was, without listing again and without an error', async () => {
    const view = await watching();
    await create('s1', 'orders', [pod('a', '10.0.0.1')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
    api.endWatches();
    await create('s2', 'orders', [pod('b', '10.0.0.2')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a', 'b']));
    expect(api.lists).toBe(1);
    expect(view.errors).toEqual([]);
  });

  it('goes on from a bookmark, which spares it a list when its own changes are long forgotten', async () => {
    const view = await watching();
    await create('other', 'invoices', [pod('x', '10.0.0.9')]);
    api.tell({ type: 'BOOKMARK', object: { kind: 'EndpointSlice', metadata: { resourceVersion: api.version } } });
    api.forget();
    await vi.waitFor(() => expect(api.openWatches).toBe(1));
    await create('s1', 'orders', [pod('a', '10.0.0.1')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
    api.endWatches();
    await create('s2', 'orders', [pod('b', '10.0.0.2')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a', 'b']));
    expect(api.lists).toBe(1);
  });

  it('lists again when the server has forgotten where it was (410), as status or as event', async () => {
    const view = await watching();
    await create('s1', 'orders', [pod('a', '10.0.0.1')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
    await create('x', 'invoices', [pod('x', '10.0.0.9')]);
    api.forget();
    api.endWatches();
    await vi.waitFor(() => expect(api.lists).toBe(2));
    await vi.waitFor(() => expect(api.openWatches).toBe(1));
    api.tell({ type: 'ERROR', object: { kind: 'Status', code: 410, message: 'The resourceVersion is too old.' } });
    await vi.waitFor(() => expect(api.lists).toBe(3));
    await create('s2', 'orders', [pod('b', '10.0.0.2')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a', 'b']));
    expect(view.errors).toEqual([]);
  });

  it.each([
    ['an error of another kind', { type: 'ERROR', object: { code: 500, message: 'etcd is on fire' } }, /on fire/],
    ['what is no event', { hello: 'world' }, /type/],
  ])('that brings %s reports it, keeps its list and goes on', async (_what, event, message) => {
    await create('s1', 'orders', [pod('a', '10.0.0.1')]);
    const view = await watching();
    api.tell(event);
    await vi.waitFor(() => expect(view.errors).toEqual([expect.objectContaining({ message: expect.stringMatching(message) })]));
    expect(view.ids()).toEqual(['a']);
    await create('s2', 'orders', [pod('b', '10.0.0.2')]);
    await vi.waitFor(() => expect(view.ids()).toEqual(['a', 'b']));
  });
});

describe('in a pod', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-account-'));
  const account = (file: string, content: string) => writeFileSync(join(folder, file), content);
  afterEach(() => vi.unstubAllEnvs());

  it('the service account tells namespace, authority and token', async () => {
    account('namespace', 'default\n');
    account('token', 'first\n');
    account('ca.crt', '');
    vi.stubEnv('KUBERNETES_SERVICE_HOST', '127.0.0.1');
    vi.stubEnv('KUBERNETES_SERVICE_PORT_HTTPS', '1');
    const discovery = kubernetes();
    await expect(new KubernetesDiscovery({ serviceAccountFolder: folder }).nodes('orders')).rejects.toMatchObject({ code: 'unavailable' });
    // The token is renewed under the process, which has to read it again.
    api.token = 'first';
    let token = 'first';
    const renewed = kubernetes({ token: () => token });
    expect(await renewed.nodes('orders')).toEqual([]);
    api.token = token = 'second';
    expect(await renewed.nodes('orders')).toEqual([]);
    const refused = await discovery.nodes('orders').catch((error: Error) => error);
    expect(refused).toMatchObject({ code: 'unavailable', message: expect.stringContaining('401') });
    rmSync(folder, { recursive: true });
  });
});

it.each([
  [{ namespace: undefined }, 'namespace'],
  [{ server: undefined }, 'tls.ca'],
  [{ namespace: 'Not/A_Label' }, 'namespace'],
  [{ server: 'ftp://x' }, 'endpoints[0]'],
  [{ port: 0 }, 'port'],
  [{ path: 'mcp' }, 'path'],
  [{ scheme: 'gopher' as 'http' }, 'scheme'],
])('wrong options are refused at once: %j', (options, option) => {
  const given = Object.fromEntries(
    Object.entries({ server: 'http://x', namespace: 'default', ...options }).filter(([, value]) => value !== undefined),
  );
  expect(() => new KubernetesDiscovery(given)).toThrow(expect.objectContaining({ option }));
});
