import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpServer } from '@modelcontextprotocol/server';
import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { startHttpNode } from '../http-node.js';
import { startLegacyNode } from '../legacy-node.js';
import { connect, folder, GatewayCommand, startGateway } from './gateway-process.js';

const LONG = { timeout: 300_000 };

/** A node whose tool `name` answers with `text`, or waits for `held`. */
async function startNode(name: string, text = name, held?: { readonly begun: () => void; readonly until: Promise<unknown> }) {
  const node = await startHttpNode(() => {
    const server = new McpServer({ name, version: '1' });
    server.registerTool(name, { inputSchema: z.object({}) }, async () => {
      held?.begun();
      await held?.until;
      return { content: [{ type: 'text', text }] };
    });
    return server;
  });
  onTestFinished(() => node.kill());
  return node;
}

const service = (url: string) => ({ urls: [url], healthCheckConfig: { enabled: false } });
// However busy the machine is: a service that answers late is not missing from a list.
const patient = { listTimeoutMs: 60_000 };
const open = { ...patient, listen: { port: 0 }, authentication: { allowAnonymous: true } };
const namesOf = async (client: Client) => (await client.listTools()).tools.map(({ name }) => name);
const textOf = (result: object) => (result as { content: { text: string }[] }).content[0]?.text;

it(
  'serves several services over HTTP and WebSocket, with keys, limits, an audit trail and metrics, and ends when told to',
  LONG,
  async () => {
    const [orders, art] = [await startNode('order'), await startNode('draw')];
    const trail = join(folder(), 'audit.jsonl');
    const { command } = startGateway(
      {
        ...patient,
        name: 'company',
        version: '2.0.0',
        listen: { port: 0, webSocket: {}, metrics: {} },
        authentication: { apiKeys: [{ id: 'alice', key: { env: 'ALICE_KEY' }, roles: ['clerk'] }] },
        rateLimits: { limits: [{ by: 'principal+tool', tools: ['draw'], requests: 1, windowMs: 3_600_000 }] },
        audit: { path: trail },
        services: {
          orders: { ...service(orders.url), credentials: { bearer: '${' + 'ORDERS_TOKEN}' } },
          art: service(art.url),
          files: { stdio: { command: process.execPath, args: [fileURLToPath(new URL('../fixtures/stdio-v2.mjs', import.meta.url))] } },
        },
      },
      { ALICE_KEY: 'alice-has-this-key', ORDERS_TOKEN: 'the-token-for-orders' },
    );
    const [http, ws] = (await command.endpoints()) as [string, string];
    const client = await connect(http, { apiKey: 'alice-has-this-key' });
    expect(client.getServerVersion()).toMatchObject({ name: 'company', version: '2.0.0' });
    expect((await namesOf(client)).slice(0, 2)).toEqual(['order', 'draw']);
    expect((await namesOf(client)).length, 'those of the program too').toBeGreaterThan(2);
    expect(textOf(await client.callTool({ name: 'order' }))).toBe('order');
    expect(new Set(orders.authorizations)).toEqual(new Set(['Bearer the-token-for-orders']));
    expect(new Set(art.authorizations)).toEqual(new Set([undefined]));

    expect(textOf(await client.callTool({ name: 'draw' }))).toBe('draw');
    await expect(client.callTool({ name: 'draw' })).rejects.toThrow('"limit":1');

    const socket = new Client({ name: 'test', version: '1' });
    await socket.connect(new WebSocketClientTransport(ws, { headers: { 'x-api-key': 'alice-has-this-key' } }));
    onTestFinished(() => socket.close());
    expect(textOf(await socket.callTool({ name: 'order' }))).toBe('order');

    await expect(connect(http)).rejects.toThrow();
    await expect(connect(http, { apiKey: 'another-key' })).rejects.toThrow();
    const page = await (await fetch(new URL('/metrics', http))).text();
    expect(page).toContain('mcp_server_requests_total{method="tools/call"');
    expect((await fetch(new URL('/readyz', http))).status).toBe(200);

    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 0, signal: null });
    expect(command.lines.at(-1)?.message).toBe('ended');
    const { verifyAuditTrail } = await import('@mcp-blocks/audit-trail');
    expect(await verifyAuditTrail(trail)).toMatchObject({ ok: true });
    for (const secret of ['alice-has-this-key', 'the-token-for-orders']) expect(command.stderr + command.stdout).not.toContain(secret);
  },
);

it('finishes a call in progress when it is told to end, and cuts it when told twice', LONG, async () => {
  for (const twice of [false, true]) {
    const [begun, until] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    onTestFinished(() => until.resolve());
    const node = await startNode('slow', 'done', { begun: () => begun.resolve(), until: until.promise });
    const { command } = startGateway({ ...open, services: { slow: service(node.url) } });
    const client = await connect((await command.endpoints())[0] as string);
    const call = client.callTool({ name: 'slow' });
    call.catch(() => {});
    await begun.promise;
    command.child.kill('SIGTERM');
    await command.line('ending: calls in progress may finish');
    if (twice) {
      command.child.kill('SIGTERM');
      expect(await command.ended).toEqual({ code: 143, signal: null });
      until.resolve();
      continue;
    }
    until.resolve();
    expect(textOf(await call)).toBe('done');
    expect(await command.ended).toEqual({ code: 0, signal: null });
  }
});

it('applies a configuration that is renamed into place, while calls and connections go on', LONG, async () => {
  const [begun, until] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  onTestFinished(() => until.resolve());
  const old = await startNode('slow', 'from the old one', { begun: () => begun.resolve(), until: until.promise });
  const [kept, fresh] = [await startNode('kept'), await startNode('fresh')];
  const keys = (roles: string[]) => ({ apiKeys: [{ id: 'alice', key: { env: 'KEY' }, roles }] });
  const config = {
    ...patient,
    listen: { port: 0, webSocket: {} },
    authentication: keys(['a']),
    services: { old: service(old.url), kept: service(kept.url) },
  };
  const { file, command } = startGateway(config, { KEY: 'a-long-enough-key' });
  const [http, ws] = (await command.endpoints()) as [string, string];
  const client = await connect(http, { apiKey: 'a-long-enough-key', mode: 'legacy' });
  const socket = new Client({ name: 'test', version: '1' });
  await socket.connect(new WebSocketClientTransport(ws, { headers: { 'x-api-key': 'a-long-enough-key' } }));
  onTestFinished(() => socket.close());
  const changed = Promise.withResolvers<void>();
  client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
  expect(await namesOf(client)).toEqual(['slow', 'kept']);
  const call = client.callTool({ name: 'slow' });
  await begun.promise;

  const next = { ...config, listen: { port: 1, webSocket: {} }, services: { kept: service(kept.url), fresh: service(fresh.url) } };
  writeFileSync(`${file}.new`, JSON.stringify(next));
  renameSync(`${file}.new`, file);
  expect(await command.line('a new configuration is in force')).toMatchObject({ added: ['fresh'], removed: ['old'], changed: [] });
  expect(await command.line('some changes need a restart: until then the old values stay in force')).toMatchObject({
    level: 'warn',
    options: ['listen.port'],
  });
  await changed.promise;
  expect(await namesOf(client)).toEqual(['kept', 'fresh']);
  expect(await namesOf(socket)).toEqual(['kept', 'fresh']);
  until.resolve();
  expect(textOf(await call)).toBe('from the old one');

  writeFileSync(file, JSON.stringify({ ...next, authentication: keys(['b']) }));
  await command.line('a new configuration is in force', 2);
  await expect(socket.listTools(), 'an open connection has the rights of before').rejects.toThrow('not accepted any more');
  expect(await namesOf(client), 'a request brings its own').toEqual(['kept', 'fresh']);

  writeFileSync(file, JSON.stringify({ ...next, authentication: { apiKeys: [{ id: 'bob', key: 'another-key-of-bob' }] } }));
  await command.line('a new configuration is in force', 3);
  await expect(client.listTools()).rejects.toThrow();
  command.child.kill('SIGTERM');
  expect(await command.ended).toEqual({ code: 0, signal: null });
});

it('refuses a wrong configuration, says why, and goes on', LONG, async () => {
  const node = await startNode('steady');
  const config = { ...open, services: { steady: service(node.url) } };
  const { file, command } = startGateway(config, {}, ['--no-watch']);
  const client = await connect((await command.endpoints())[0] as string);
  const wrong: [text: string, problem: string][] = [
    ['{ "listen": { "port": 0 ', 'is not JSON: the text ends too early, at line 1, column 25'],
    [JSON.stringify({ ...config, servicess: {} }), 'servicess: is not an option here; did you mean services?'],
    [
      JSON.stringify({ ...config, services: { steady: { urls: ['nowhere'] } } }),
      "services.steady.urls[0]: expected an http, https, ws or wss URL, got 'nowhere'",
    ],
    [
      JSON.stringify({ ...config, authentication: {} }),
      'authentication: expected apiKeys, jwt, oauth, introspection, clientKeys or clientCertificates, or allowAnonymous: true to let everybody in',
    ],
    [
      JSON.stringify({ ...config, authentication: { apiKeys: [{ id: 'a', key: { env: 'NOT_SET' } }] } }),
      'authentication.apiKeys[0].key: the environment variable NOT_SET is not set',
    ],
  ];
  for (const [index, [text, problem]] of wrong.entries()) {
    writeFileSync(file, text);
    command.child.kill('SIGHUP');
    const refusal = await command.line('a new configuration is refused: the old one stays in force', index + 1);
    expect(refusal).toMatchObject({ level: 'error', problems: [problem] });
    expect(await namesOf(client)).toEqual(['steady']);
  }
  writeFileSync(file, JSON.stringify(config));
  command.child.kill('SIGHUP');
  await command.line('the configuration has not changed');
  command.child.kill('SIGINT');
  expect(await command.ended).toEqual({ code: 0, signal: null });
});

it('follows symbolic links as Kubernetes exchanges them, and the secrets in files', LONG, async () => {
  const [first, second] = [await startNode('first'), await startNode('second')];
  const root = folder();
  const version = (name: string, url: string, key: string) => {
    mkdirSync(join(root, name));
    const apiKeys = [{ id: 'alice', key: { file: 'key' } }];
    writeFileSync(
      join(root, name, 'gateway.json'),
      JSON.stringify({ ...open, authentication: { apiKeys }, services: { one: service(url) } }),
    );
    writeFileSync(join(root, name, 'key'), `${key}\n`);
  };
  version('..v1', first.url, 'the-first-key');
  symlinkSync('..v1', join(root, '..data'));
  for (const name of ['gateway.json', 'key']) symlinkSync(join('..data', name), join(root, name));
  const command = new GatewayCommand(['gateway', '--config', join(root, 'gateway.json')]);
  const [http] = (await command.endpoints()) as [string];
  expect(await namesOf(await connect(http, { apiKey: 'the-first-key' }))).toEqual(['first']);

  version('..v2', second.url, 'the-second-key');
  symlinkSync('..v2', join(root, '..data_tmp'));
  renameSync(join(root, '..data_tmp'), join(root, '..data'));
  expect(await command.line('a new configuration is in force')).toMatchObject({ changed: ['one'] });
  expect(await namesOf(await connect(http, { apiKey: 'the-second-key' }))).toEqual(['second']);
  await expect(connect(http, { apiKey: 'the-first-key' })).rejects.toThrow();

  writeFileSync(join(root, '..v2', 'key'), 'the-third-key');
  await command.line('a new configuration is in force', 2);
  expect(await namesOf(await connect(http, { apiKey: 'the-third-key' }))).toEqual(['second']);
  expect(command.stderr).not.toMatch(/the-(first|second|third)-key/);
});

it('serves what is there while one service is out of reach', LONG, async () => {
  const node = await startNode('alive');
  const dead = await startNode('dead');
  await dead.kill();
  const { command } = startGateway({ ...open, services: { dead: service(dead.url), alive: service(node.url) } });
  const client = await connect((await command.endpoints())[0] as string);
  expect(await namesOf(client)).toEqual(['alive']);
  expect(await command.line('a service does not answer')).toMatchObject({ level: 'warn', service: 'dead' });
});

it('ends with 1 when it cannot listen', LONG, async () => {
  const node = await startNode('x');
  const { port } = new URL(node.url);
  const { command } = startGateway({ ...open, listen: { port: Number(port) }, services: { x: service(node.url) } });
  expect(await command.ended).toEqual({ code: 1, signal: null });
  expect(command.lines.at(-1)).toMatchObject({ level: 'error', message: 'the gateway cannot serve' });
});

it('several gateways with one Redis share legacy sessions at both ends, and a session outlives its gateway', LONG, async () => {
  // Counts the calls of each session at it.
  const node = await startLegacyNode(() => {
    const server = new McpServerV1({ name: 'art', version: '1' });
    let calls = 0;
    server.registerTool('draw', {}, async () => {
      calls += 1;
      return { content: [{ type: 'text', text: `draw ${calls}` }] };
    });
    return server;
  });
  onTestFinished(() => node.kill());
  const config = {
    ...open,
    name: `shared-${crypto.randomUUID()}`,
    state: { provider: 'redis', endpoints: [{ env: 'REDIS' }] },
    services: { art: { ...service(node.url), upstreamSessions: 'own' } },
  };
  const env = { REDIS: process.env.MCP_BLOCKS_REDIS_URL };
  const [first, second] = [startGateway(config, env), startGateway(config, env)];
  const urls = await Promise.all([first, second].map(async ({ command }) => (await command.endpoints())[0] as string));
  // The client's one address, as behind a balancer.
  let active = urls[0] as string;
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'legacy' } });
  const fetchActive = (input: string | URL, init?: RequestInit) => fetch(new URL(new URL(input).pathname, active), init);
  await client.connect(new StreamableHTTPClientTransport(new URL(active), { fetch: fetchActive }));
  onTestFinished(() => client.close());
  expect(textOf(await client.callTool({ name: 'draw' }))).toBe('draw 1');
  first.command.child.kill('SIGKILL');
  await first.command.ended;
  active = urls[1] as string;
  expect(textOf(await client.callTool({ name: 'draw' })), 'the same sessions at the other gateway').toBe('draw 2');
});
