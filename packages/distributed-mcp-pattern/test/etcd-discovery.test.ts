import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { inspect } from 'node:util';
import { type ServiceNode, systemClock } from '@mcp-blocks/core';
import { discoveryContract, ManualClock, serviceRegistryContract } from '@mcp-blocks/core/testing';
import { startServices } from '@mcp-blocks/services';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { EtcdDiscovery } from '../src/index.js';

const ETCD_URL = process.env.MCP_BLOCKS_ETCD_URL ?? '';
if (ETCD_URL === '') throw new Error('MCP_BLOCKS_ETCD_URL is not set: run the tests with `npm test`, which starts an etcd');

/** A corner of the shared etcd for one test. */
const freshPrefix = () => `/test/${randomUUID()}`;

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});
function etcd(options: Partial<ConstructorParameters<typeof EtcdDiscovery>[0]> = {}): EtcdDiscovery {
  const discovery = new EtcdDiscovery({ endpoints: [ETCD_URL], random: () => 0, ...options });
  open.push(discovery);
  return discovery;
}

/** What an operator with etcdctl would do. */
async function command(path: string, body: Record<string, unknown>): Promise<Record<string, unknown>> {
  const response = await fetch(new URL(path, ETCD_URL), { method: 'POST', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Record<string, unknown>;
}
const base64 = (text: string) => Buffer.from(text).toString('base64');
const put = (key: string, value: string) => command('/v3/kv/put', { key: base64(key), value: base64(value) });
const remove = (key: string) => command('/v3/kv/deleterange', { key: base64(key) });

/** A TCP relay to etcd that can be cut and mended. */
async function relay() {
  const target = new URL(ETCD_URL);
  const sockets = new Set<import('node:net').Socket>();
  let server: Server | undefined;
  let port = 0;
  const mend = async () => {
    server = createServer();
    server.on('connection', (socket) => {
      const upstream = connect(Number(target.port), target.hostname);
      for (const [from, to] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        sockets.add(from);
        from.on('error', () => {}).on('close', () => to.destroy());
      }
      socket.removeAllListeners('data');
      socket.pipe(upstream);
      upstream.pipe(socket);
    });
    await new Promise<void>((resolve) => server!.listen(port, '127.0.0.1', resolve));
    port = (server.address() as { port: number }).port;
  };
  const cut = async () => {
    const closing = new Promise((resolve) => server!.close(resolve));
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await closing;
  };
  await mend();
  open.push({ close: () => cut().catch(() => {}) });
  return { url: () => `http://127.0.0.1:${port}`, cut, mend };
}

describe('EtcdDiscovery keeps the contract of Discovery', () => {
  for (const { name, run } of discoveryContract) {
    it(name, async () => {
      const keyPrefix = freshPrefix();
      const known = new Map<string, Set<string>>();
      await run({
        discovery: new EtcdDiscovery({ endpoints: [ETCD_URL], keyPrefix }),
        async setNodes(service, nodes) {
          const key = (id: string) => `${keyPrefix}/${encodeURIComponent(service)}/${encodeURIComponent(id)}`;
          const ids = new Set(nodes.map(({ id }) => id));
          for (const id of known.get(service) ?? []) if (!ids.has(id)) await remove(key(id));
          known.set(service, ids);
          for (const node of nodes) await put(key(node.id), JSON.stringify(node));
        },
      });
    });
  }
});

describe('EtcdDiscovery keeps the contract of ServiceRegistry', () => {
  for (const { name, run } of serviceRegistryContract) {
    it(name, () => {
      const options = { endpoints: [ETCD_URL], keyPrefix: freshPrefix() };
      return run({ registry: new EtcdDiscovery(options), observer: new EtcdDiscovery(options) });
    });
  }
});

const node: ServiceNode = { id: 'a', url: 'http://127.0.0.1:1/mcp' };

describe('a watch', () => {
  function watching(discovery: EtcdDiscovery) {
    const lists: (readonly ServiceNode[])[] = [];
    const errors: Error[] = [];
    const ids = () =>
      lists
        .at(-1)
        ?.map(({ id }) => id)
        .sort();
    return {
      lists,
      errors,
      ids,
      started: discovery.watch(
        'orders',
        (list) => lists.push(list),
        (error) => errors.push(error),
      ),
    };
  }

  it('keeps the last list while etcd is away, reports it, and learns afterwards what it missed', async () => {
    const keyPrefix = freshPrefix();
    const line = await relay();
    const view = watching(etcd({ endpoints: [line.url()], keyPrefix }));
    await view.started;
    await put(`${keyPrefix}/orders/a`, JSON.stringify(node));
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
    await line.cut();
    await vi.waitFor(() => expect(view.errors.length).toBeGreaterThan(0));
    expect(view.ids()).toEqual(['a']);
    await put(`${keyPrefix}/orders/b`, JSON.stringify({ ...node, id: 'b' }));
    await remove(`${keyPrefix}/orders/a`);
    await line.mend();
    await vi.waitFor(() => expect(view.ids()).toEqual(['b']), { timeout: 10_000 });
  });

  it('lists again when etcd has compacted what it missed', async () => {
    const keyPrefix = freshPrefix();
    const line = await relay();
    const view = watching(etcd({ endpoints: [line.url()], keyPrefix }));
    await view.started;
    await put(`${keyPrefix}/orders/a`, JSON.stringify(node));
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
    await line.cut();
    await remove(`${keyPrefix}/orders/a`);
    await put(`${keyPrefix}/orders/b`, JSON.stringify({ ...node, id: 'b' }));
    const { header } = (await put(`${keyPrefix}/orders/c`, JSON.stringify({ ...node, id: 'c' }))) as { header: { revision: string } };
    await command('/v3/kv/compaction', { revision: header.revision });
    await line.mend();
    await vi.waitFor(() => expect(view.ids()).toEqual(['b', 'c']), { timeout: 10_000 });
  });

  it('goes on with another member when one is away', async () => {
    const keyPrefix = freshPrefix();
    const view = watching(etcd({ endpoints: ['http://127.0.0.1:1', ETCD_URL], keyPrefix }));
    await view.started;
    await put(`${keyPrefix}/orders/a`, JSON.stringify(node));
    await vi.waitFor(() => expect(view.ids()).toEqual(['a']));
  });

  it.each([
    ['not JSON', 'x', '{'],
    ['without a URL', 'x', '{"id":"x"}'],
    ['with a URL of a foreign kind', 'x', '{"id":"x","url":"file:///etc/passwd"}'],
    ['under the key of another node', 'x', '{"id":"a","url":"http://127.0.0.1:1/mcp"}'],
  ])('leaves out an entry %s and reports it', async (_what, id, value) => {
    const keyPrefix = freshPrefix();
    await put(`${keyPrefix}/orders/a`, JSON.stringify(node));
    await put(`${keyPrefix}/orders/${id}`, value);
    const discovery = etcd({ keyPrefix });
    const view = watching(discovery);
    await view.started;
    expect(view.lists).toEqual([[node]]);
    expect(view.errors.map(({ message }) => message)).toEqual([expect.stringContaining(`/orders/${id}'`)]);
    expect(await discovery.nodes('orders')).toEqual([node]);
  });
});

describe('a registration', () => {
  it('goes by itself when its process dies', async () => {
    const keyPrefix = freshPrefix();
    const stopped = etcd({ keyPrefix, leaseTtlMs: 1_000, clock: new ManualClock() });
    await stopped.register('orders', node);
    const observer = etcd({ keyPrefix });
    expect(await observer.nodes('orders')).toEqual([node]);
    // Its clock stands still, so that it renews nothing: to etcd it is dead.
    await vi.waitFor(async () => expect(await observer.nodes('orders')).toEqual([]), { timeout: 10_000, interval: 100 });
  });

  it('is renewed, and entered again when its lease was lost', async () => {
    const keyPrefix = freshPrefix();
    const clock = new ManualClock();
    await etcd({ keyPrefix, clock, leaseTtlMs: 60_000 }).register('orders', node);
    const [kv] = ((await command('/v3/kv/range', { key: base64(`${keyPrefix}/orders/a`) })) as { kvs: { lease: string }[] }).kvs;
    await command('/v3/lease/revoke', { ID: kv!.lease });
    const observer = etcd({ keyPrefix });
    expect(await observer.nodes('orders')).toEqual([]);
    await clock.advance(20_000);
    await vi.waitFor(async () => expect(await observer.nodes('orders')).toEqual([node]));
  });
});

describe('an etcd with a user and password', () => {
  it('is spoken to as that user, with a new token when the old one has ended, and refuses others', async () => {
    const own = await startServices(['etcd'], {});
    open.push({ close: () => own.stop() });
    const url = own.env['MCP_BLOCKS_ETCD_URL'] as string;
    let token = '';
    const auth = async (path: string, body: object) => {
      const response = await fetch(new URL(`/v3/auth/${path}`, url), {
        method: 'POST',
        headers: token === '' ? {} : { authorization: token },
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(200);
      return (await response.json()) as { token?: string };
    };
    await auth('user/add', { name: 'root', password: 'root-secret' });
    await auth('user/grant', { user: 'root', role: 'root' });
    await auth('role/add', { name: 'nodes' });
    const key = base64('/mcp-blocks/services/');
    await auth('role/grant', { name: 'nodes', perm: { permType: 'READWRITE', key, range_end: base64('/mcp-blocks/services0') } });
    await auth('user/add', { name: 'cluster', password: 'cluster-secret' });
    await auth('user/grant', { user: 'cluster', role: 'nodes' });
    await auth('enable', {});

    const discovery = etcd({ endpoints: [url], user: { name: 'cluster', password: 'cluster-secret' } });
    const lists: (readonly ServiceNode[])[] = [];
    await discovery.watch('orders', (list) => lists.push(list));
    const leave = await discovery.register('orders', node);
    await vi.waitFor(() => expect(lists.at(-1)).toEqual([node]));
    await leave();
    await vi.waitFor(() => expect(lists.at(-1)).toEqual([]));

    // A change of roles ends every token.
    token = (await auth('authenticate', { name: 'root', password: 'root-secret' })).token as string;
    await auth('role/add', { name: 'more' });
    await auth('user/changepw', { name: 'cluster', password: 'cluster-secret' });
    await discovery.register('orders', node);
    expect(await discovery.nodes('orders')).toEqual([node]);

    const wrong = etcd({ endpoints: [url], user: { name: 'cluster', password: 'guess' } });
    const refused = await wrong.nodes('orders').catch((error: Error) => error);
    expect(refused).toMatchObject({ code: 'unavailable' });
    expect(inspect(refused, { depth: 9 })).not.toContain('guess');
    await expect(etcd({ endpoints: [url] }).nodes('orders')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('an etcd behind TLS', () => {
  const pem = (name: string) => readFileSync(new URL(`../../encrypted-websocket/test/fixtures/test-only-${name}`, import.meta.url));
  const ca = pem('ca.pem');

  /** TLS in front of the plain etcd of the tests; only who holds a certificate of the authority gets through. */
  async function tlsFront(): Promise<string> {
    const target = new URL(ETCD_URL);
    const front = createTlsServer({ key: pem('server.key'), cert: pem('server.pem'), ca, requestCert: true, rejectUnauthorized: true });
    front.on('secureConnection', (socket) => {
      const upstream = connect(Number(target.port), target.hostname);
      socket.on('error', () => {}).on('close', () => upstream.destroy());
      upstream.on('error', () => {}).on('close', () => socket.destroy());
      socket.pipe(upstream).pipe(socket);
    });
    front.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    open.push({ close: () => new Promise((resolve) => front.close(resolve)) });
    return `https://localhost:${(front.address() as { port: number }).port}`;
  }

  it('is trusted by its authority and shown the client’s certificate, also on a watch', async () => {
    const keyPrefix = freshPrefix();
    const discovery = etcd({ endpoints: [await tlsFront()], keyPrefix, tls: { ca, cert: pem('client.pem'), key: pem('client.key') } });
    const lists: (readonly ServiceNode[])[] = [];
    await discovery.watch('orders', (list) => lists.push(list));
    await put(`${keyPrefix}/orders/a`, JSON.stringify(node));
    await vi.waitFor(() => expect(lists.at(-1)).toEqual([node]));
  });

  it.each([
    ['of an authority that is not trusted', { cert: pem('client.pem'), key: pem('client.key') }],
    ['that wants a certificate, without one', { ca }],
  ])('%s does not answer', async (_what, tls) => {
    await expect(etcd({ endpoints: [await tlsFront()], tls }).nodes('orders')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('without an etcd', () => {
  const nowhere = () => etcd({ endpoints: ['http://127.0.0.1:1'], clock: systemClock });

  it.each([
    ['nodes', (discovery: EtcdDiscovery) => discovery.nodes('orders')],
    ['watch', (discovery: EtcdDiscovery) => discovery.watch('orders', () => {})],
    ['register', (discovery: EtcdDiscovery) => discovery.register('orders', node)],
  ])('%s is refused as unavailable', async (_name, ask) => {
    await expect(ask(nowhere())).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each([
    [{ endpoints: [] }, 'endpoints'],
    [{ endpoints: ['redis://x'] }, 'endpoints[0]'],
    [{ endpoints: ['http://x'], leaseTtlMs: 10 }, 'leaseTtlMs'],
  ])('wrong options are refused at once: %j', (options, option) => {
    expect(() => new EtcdDiscovery(options)).toThrow(expect.objectContaining({ option }));
  });
});
