import { afterEach, describe, expect, it } from 'vitest';
import { MCPClients, type MCPClientsOptions } from '../src/index.js';
import { ManualClock, settle, TestLink, TestService } from './support.js';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function start(names: readonly string[], options: Partial<MCPClientsOptions> = {}) {
  const clock = new ManualClock();
  const services = new Map(names.map((name) => [name, new TestService()]));
  const links = new Map([...services].map(([name, service]) => [name, new TestLink(service)]));
  const clients = new MCPClients({
    servers: Object.fromEntries(
      names.map((name) => [
        name,
        {
          serverUrl: `https://${name}.example.com`,
          connectors: (environment) => [(links.get(name) as TestLink).connector('link', environment)],
        },
      ]),
    ),
    ...options,
    defaults: { clock, healthCheckInterval: 0, ...options.defaults },
  });
  cleanups.push(async () => {
    await clients.close();
    await settle();
    expect(clock.pendingTimers).toBe(0);
    expect([...links.values()].map(({ open }) => open)).toEqual(names.map(() => 0));
  });
  return { clients, clock, services, links };
}

describe('clients of several servers', () => {
  it('are made and connected when they are needed, and are the same every time', async () => {
    const { clients, services, links } = start(['files', 'mail']);
    expect(clients.names).toEqual(['files', 'mail']);
    expect(clients.client('files')).toBe(clients.client('files'));
    expect(links.get('files')?.attempts).toBe(0);
    await clients.client('files').callTool('pay');
    await clients.client('files').callTool('pay');
    expect([...links.values()].map(({ attempts }) => attempts)).toEqual([1, 0]);
    expect(services.get('files')?.count('tools/call')).toBe(2);
    expect(clients.getMetrics()).toEqual({ files: expect.objectContaining({ totalRequests: 2 }) });
  });

  it('do not fail with one another', async () => {
    const { clients, clock, links } = start(['files', 'mail'], { defaults: { reconnectOptions: { maxAttempts: 0 } } });
    Object.assign(links.get('files') as TestLink, { up: false });
    await expect(clients.client('files').listTools()).rejects.toMatchObject({ code: 'unavailable' });
    expect((await clients.client('mail').listTools()).tools).toHaveLength(3);
    await clock.advance(1000);
  });

  it.each([undefined, { maxSize: 1 }])('have caches of their own, or one for all: %o', async (sharedCache) => {
    const { clients, services } = start(['files', 'mail'], sharedCache === undefined ? {} : { sharedCache });
    for (const service of services.values()) service.ttlMs = 60_000;
    for (const name of ['files', 'mail', 'files']) await clients.client(name).listTools();
    expect(services.get('files')?.count('tools/list')).toBe(sharedCache === undefined ? 1 : 2);
    expect(clients.client('mail').getCacheStats().evictions).toBe(sharedCache === undefined ? 0 : 1);
  });

  it('take the defaults where they have nothing of their own', async () => {
    const { clients } = start(['files'], { defaults: { queueLimit: 0, maxConcurrentRequests: 1 } });
    await expect(clients.client('files').callTool('pay')).rejects.toMatchObject({ data: { queueLimit: 0 } });
  });

  it('are gone when they are closed', async () => {
    const { clients } = start(['files']);
    const client = clients.client('files');
    await client.connect();
    await clients.close();
    await clients.close();
    expect(client.getConnectionStatus().state).toBe('closed');
    expect(() => clients.client('files')).toThrow(expect.objectContaining({ code: 'cancelled' }));
  });
});

it.each<[string, object]>([
  ['servers.files.serverUrl', { servers: { files: { serverUrl: 'files' } } }],
  ['servers.files.queueLimit', { servers: { files: { serverUrl: 'https://a.example.com' } }, defaults: { queueLimit: -1 } }],
  [
    'servers.files.cacheOptions.maxSize',
    { servers: { files: { serverUrl: 'https://a.example.com', cacheOptions: { maxSize: 5 } } }, sharedCache: {} },
  ],
  ['sharedCache.maxSize', { servers: {}, sharedCache: { maxSize: 0 } }],
])('refuses a bad %s at once', (option, options) => {
  expect(() => new MCPClients(options as MCPClientsOptions)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
});

it('says which servers there are', () => {
  const clients = new MCPClients({ servers: { files: { serverUrl: 'https://a.example.com' } } });
  expect(() => clients.client('mail' as never)).toThrow(/'mail' among files/);
});
