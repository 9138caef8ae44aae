import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RpcService } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Client } from '@modelcontextprotocol/client';
import { McpServer as V1McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import { afterEach, expect, it } from 'vitest';
import { z } from 'zod';
import { createGateway, DistributedMCPCluster, type GatewayProblem } from '../src/index.js';
import { startHttpNode } from './http-node.js';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function startCluster(clusterName: string, urls: readonly string[]): Promise<DistributedMCPCluster> {
  const cluster = new DistributedMCPCluster({
    clusterName,
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: clusterName, endpoints: urls },
    healthCheckConfig: { interval: 60_000, timeout: 5_000 },
  });
  open.push(() => cluster.close());
  await cluster.start();
  return cluster;
}

const echo = (): RpcService => ({
  info: { name: 'echo', version: '1', capabilities: { tools: {} } },
  handler: async ({ method, params }) =>
    method === 'tools/list'
      ? { tools: [{ name: 'echo', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } }] }
      : { content: [{ type: 'text', text: JSON.stringify(params.arguments) }] },
});

it('reaches nodes over WebSocket, and again after the connection is lost', async () => {
  const start = async (port: number) => {
    const listener = encryptedWebSocket({ port });
    const server = new SecureMCPServer({ service: echo(), allowAnonymous: true, listeners: [listener] });
    await server.start();
    open.push(() => server.stop());
    return { server, url: listener.endpoint as string };
  };
  const first = await start(0);
  const cluster = await startCluster('sockets', [first.url]);
  const call = () => cluster.route('tools/call', { name: 'echo', arguments: { a: 1 } });
  expect(await call()).toMatchObject({ content: [{ text: '{"a":1}' }] });
  await first.server.stop();
  // A list, which may be repeated: the end of the connection may not have been seen yet.
  await expect(cluster.route('tools/list')).rejects.toMatchObject({ code: 'unavailable' });
  await start(Number(new URL(first.url).port));
  expect(await call()).toMatchObject({ content: [{ text: '{"a":1}' }] });
});

/** A stateful server of SDK v1, as most deployed ones are. */
async function startV1Node(): Promise<{ url: string; sessions: Map<string, StreamableHTTPServerTransport> }> {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const http = createServer(async (request, response) => {
    const known = sessions.get(String(request.headers['mcp-session-id']));
    if (known !== undefined) return known.handleRequest(request, response);
    const server = new V1McpServer({ name: 'old', version: '1' });
    server.registerTool('shout', { inputSchema: { text: z.string() } }, async ({ text }) => ({
      content: [{ type: 'text', text: text.toUpperCase() }],
    }));
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    await server.connect(transport as never);
    await transport.handleRequest(request, response);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  open.push(() => {
    const closed = new Promise((resolve) => http.close(resolve));
    http.closeAllConnections();
    return closed;
  });
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`, sessions };
}

it('reaches a server of SDK v1 with sessions, and gives the sessions back', async () => {
  const { url, sessions } = await startV1Node();
  const cluster = await startCluster('old', [url]);
  expect(await cluster.route('tools/call', { name: 'shout', arguments: { text: 'hi' } })).toEqual({
    content: [{ type: 'text', text: 'HI' }],
  });
  await expect(cluster.route('server/discover')).rejects.toMatchObject({ code: 'method_not_found' });
  expect(sessions.size).toBeGreaterThan(0);
  await cluster.close();
  expect(sessions.size).toBe(0);
});

it.each(['auto', 'legacy'] as const)(
  'federates three services for an SDK client (%s), one of them dead and one of SDK v1',
  async (mode) => {
    const weather = await startHttpNode(() => {
      const server = new McpServer({ name: 'weather', version: '1' });
      server.registerTool('forecast', { inputSchema: z.object({ city: z.string() }) }, async ({ city }) => ({
        content: [{ type: 'text', text: `sun in ${city}` }],
      }));
      server.registerPrompt('pack', {}, async () => ({ messages: [{ role: 'user', content: { type: 'text', text: 'What to pack?' } }] }));
      server.registerResource('stations', 'weather://stations', {}, async (uri) => ({ contents: [{ uri: uri.href, text: 'Oslo' }] }));
      return server;
    });
    open.push(() => weather.kill());
    const dead = await startHttpNode(() => new McpServer({ name: 'dead', version: '1' }));
    await dead.kill();
    const problems: GatewayProblem[] = [];
    const gateway = createGateway({
      info: { name: 'gateway', version: '1.0.0' },
      services: {
        weather: await startCluster('weather', [weather.url]),
        dead: await startCluster('dead', [dead.url]),
        old: await startCluster('old', [(await startV1Node()).url]),
      },
      onProblem: (problem) => problems.push(problem),
    });
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    serveChannel(gateway, serverEnd, { principal: testPrincipal(), transport: 'memory' });
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(clientEnd);
    open.push(() => client.close());

    expect(client.getServerVersion()).toMatchObject({ name: 'gateway' });
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['forecast', 'shout']);
    expect((await client.listPrompts()).prompts.map(({ name }) => name)).toEqual(['pack']);
    expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual(['weather://stations']);
    expect((await client.callTool({ name: 'forecast', arguments: { city: 'Oslo' } })).content).toEqual([
      { type: 'text', text: 'sun in Oslo' },
    ]);
    expect((await client.callTool({ name: 'shout', arguments: { text: 'ahoy' } })).content).toEqual([{ type: 'text', text: 'AHOY' }]);
    expect((await client.readResource({ uri: 'weather://stations' })).contents).toMatchObject([{ text: 'Oslo' }]);
    expect((await client.getPrompt({ name: 'pack' })).messages).toHaveLength(1);
    await expect(client.callTool({ name: 'forecast', arguments: {} })).resolves.toMatchObject({ isError: true });
    expect(problems.map(({ kind }) => kind)).toContain('unreachable');
    expect(new Set(problems.map((problem) => problem.kind === 'unreachable' && problem.service))).toEqual(new Set(['dead']));
  },
);
