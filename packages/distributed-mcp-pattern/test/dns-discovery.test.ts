import { spawn } from 'node:child_process';
import type { ServiceNode } from '@mcp-blocks/core';
import { discoveryContract, ManualClock } from '@mcp-blocks/core/testing';
import { findProgram, freePorts } from '@mcp-blocks/services';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DnsDiscovery, type DnsDiscoveryOptions } from '../src/index.js';

/** A real dnsmasq that knows nothing but the records it is given; new records mean a new process on the same port. */
class NameServer {
  readonly #port: number;
  #stop: (() => Promise<void>) | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async serve(records: readonly string[]): Promise<void> {
    await this.close();
    const args = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--no-poll', '--pid-file=', '--local=/#/'];
    args.push('--bind-interfaces', '--listen-address=127.0.0.1', `--port=${this.#port}`, '--log-facility=-', '--user=root');
    const child = spawn(findProgram('dnsmasq'), [...args, ...records], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#stop = async () => {
      child.kill('SIGKILL');
      await ended;
    };
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (text: Buffer) => text.includes('started') && resolve());
      child.once('exit', (code) => reject(new Error(`dnsmasq exited with ${code}`)));
    });
  }

  async close(): Promise<void> {
    await this.#stop?.();
    this.#stop = undefined;
  }
}

let server: NameServer;
const open: { close(): unknown }[] = [];
beforeEach(async () => {
  const [port] = (await freePorts(1)) as [number];
  server = new NameServer(port);
  open.push(server);
  await server.serve([]);
});
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});
function dns(options: DnsDiscoveryOptions = {}): DnsDiscovery {
  const discovery = new DnsDiscovery({ servers: [server.address], timeoutMs: 200, random: () => 0, ...options });
  open.push(discovery);
  return discovery;
}

describe('DnsDiscovery keeps the contract of Discovery with SRV records of a real dnsmasq', () => {
  for (const { name, run } of discoveryContract) {
    it(name, async () => {
      const services = new Map<string, readonly ServiceNode[]>();
      await run({
        discovery: new DnsDiscovery({ servers: [server.address], refreshIntervalMs: 100, scheme: 'http' }),
        keeps: ({ url, weight }) => {
          const { host } = new URL(url);
          // Whole numbers are all a record has room for.
          return { id: host, url: `http://${host}/mcp`, ...(weight === undefined ? {} : { weight: Math.round(weight) }) };
        },
        async setNodes(service, nodes) {
          services.set(service, nodes);
          const records = [...services].flatMap(([name, list]) =>
            list.map(({ url, weight = 1 }) => {
              const { hostname, port } = new URL(url);
              return `--srv-host=${name},${hostname},${port},10,${Math.round(weight)}`;
            }),
          );
          await server.serve(records);
        },
      });
    });
  }
});

it('takes only the most preferred priority of SRV records', async () => {
  await server.serve([
    '--srv-host=_mcp._tcp.example.test,a.example.test,8443,10,60',
    '--srv-host=_mcp._tcp.example.test,b.example.test,8443,10,0',
    '--srv-host=_mcp._tcp.example.test,backup.example.test,8443,20,1',
  ]);
  expect(await dns().nodes('_mcp._tcp.example.test')).toEqual([
    { id: 'a.example.test:8443', url: 'https://a.example.test:8443/mcp', weight: 60 },
    { id: 'b.example.test:8443', url: 'https://b.example.test:8443/mcp' },
  ]);
});

it('takes addresses with a port of its own', async () => {
  await server.serve(['--host-record=orders.test,10.0.0.1', '--host-record=orders.test,10.0.0.2', '--host-record=orders.test,fd00::1']);
  expect(await dns({ record: 'A', port: 80, scheme: 'http' }).nodes('orders.test')).toEqual([
    { id: '10.0.0.1:80', url: 'http://10.0.0.1:80/mcp' },
    { id: '10.0.0.2:80', url: 'http://10.0.0.2:80/mcp' },
  ]);
  expect(await dns({ record: 'AAAA', port: 80, scheme: 'ws', path: '/ws' }).nodes('orders.test')).toEqual([
    { id: '[fd00::1]:80', url: 'ws://[fd00::1]:80/ws' },
  ]);
});

it('asks again after the interval, a little sooner by chance, and tells only of changes', async () => {
  const clock = new ManualClock();
  await server.serve(['--srv-host=orders.test,a.test,1']);
  const lists: (readonly string[])[] = [];
  await dns({ clock, refreshIntervalMs: 10_000, random: () => 0.5 }).watch('orders.test', (nodes) => lists.push(nodes.map(({ id }) => id)));
  await clock.advance(9_499);
  expect(clock.pendingTimers).toBe(1);
  await clock.advance(1);
  await vi.waitFor(() => expect(clock.pendingTimers).toBe(1));
  expect(lists).toEqual([['a.test:1']]);
  await server.serve(['--srv-host=orders.test,b.test,1']);
  await clock.advance(9_500);
  await vi.waitFor(() => expect(lists).toEqual([['a.test:1'], ['b.test:1']]));
});

it('keeps the last list while the name server is away, reports it, and goes on when it is back', async () => {
  await server.serve(['--srv-host=orders.test,a.test,1']);
  const lists: (readonly ServiceNode[])[] = [];
  const errors: Error[] = [];
  await dns({ refreshIntervalMs: 100 }).watch(
    'orders.test',
    (nodes) => lists.push(nodes),
    (error) => errors.push(error),
  );
  await server.close();
  await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0));
  expect(errors[0]).toMatchObject({ code: 'unavailable' });
  expect(lists).toHaveLength(1);
  await server.serve(['--srv-host=orders.test,b.test,1']);
  await vi.waitFor(() => expect(lists.at(-1)).toMatchObject([{ id: 'b.test:1' }]), { timeout: 10_000 });
});

it.each([
  ['nodes', (discovery: DnsDiscovery) => discovery.nodes('orders.test')],
  ['watch', (discovery: DnsDiscovery) => discovery.watch('orders.test', () => {})],
])('without a name server %s is refused as unavailable', async (_name, ask) => {
  await expect(ask(dns({ servers: ['127.0.0.1:1'], timeoutMs: 50 }))).rejects.toMatchObject({ code: 'unavailable' });
});

it.each([
  [{ record: 'A' as const }, 'port'],
  [{ port: 80 }, 'port'],
  [{ record: 'MX' as 'A' }, 'record'],
  [{ servers: ['not an address'] }, 'servers'],
  [{ servers: [] }, 'servers'],
  [{ refreshIntervalMs: 1 }, 'refreshIntervalMs'],
  [{ path: 'mcp' }, 'path'],
])('wrong options are refused at once: %j', (options, option) => {
  expect(() => new DnsDiscovery(options)).toThrow(expect.objectContaining({ option }));
});
