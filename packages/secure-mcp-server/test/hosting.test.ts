import type { RpcMiddleware, RpcService } from '@mcp-blocks/core';
import { hostSdkServer, hostSdkV1Server } from '@mcp-blocks/core/sdk';
import { encryptedWebSocket, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { McpServer as V1McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpServer } from '@modelcontextprotocol/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { z } from 'zod';
import { http } from '../src/index.js';
import { CLIENT_KINDS, connectHttp, newClient } from './support/clients.js';
import { callTool, startHttp, testService, token } from './support/server.js';

const v1Factory = () => {
  const server = new V1McpServer({ name: 'theirs', version: '1.0.0' });
  server.registerTool('shout', { inputSchema: { text: z.string() } }, async ({ text }) => ({
    content: [{ type: 'text', text: text.toUpperCase() }],
  }));
  return server;
};

const v2Factory = () => {
  const server = new McpServer({ name: 'theirs', version: '2.0.0' });
  server.registerTool('shout', { inputSchema: z.object({ text: z.string() }) }, async ({ text }) => ({
    content: [{ type: 'text', text: text.toUpperCase() }],
  }));
  return server;
};

const hosts: [string, () => Promise<RpcService>][] = [
  ['an SDK v1 server', () => hostSdkV1Server(v1Factory)],
  ['an SDK v2 server', () => hostSdkServer(v2Factory)],
];

describe.each(hosts)('%s behind our listener', (_name, host) => {
  it.each(CLIENT_KINDS)('is called through the middleware by an SDK client (%s)', async (kind) => {
    const seen: string[] = [];
    const spy: RpcMiddleware = (next) => async (request, context) => {
      seen.push(`${context.principal.id} ${request.method}`);
      return next(request, context);
    };
    const { url } = await startHttp({ service: await host(), middleware: [spy] });
    const client = await connectHttp(kind, url);
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['shout']);
    expect((await client.callTool({ name: 'shout', arguments: { text: 'hi' } })).content).toEqual([{ type: 'text', text: 'HI' }]);
    expect(seen).toEqual(['alice tools/list', 'alice tools/call']);
  });

  it('says what is wrong with the arguments, and does not run', async () => {
    const { url } = await startHttp({ service: await host() });
    const client = await connectHttp('auto', url);
    const outcome = await client.callTool({ name: 'shout', arguments: { text: 5 } }).then(
      (result) => JSON.stringify(result),
      (error: Error) => error.message,
    );
    expect(outcome).toMatch(/text/);
    expect(outcome).not.toMatch(/node_modules/);
  });

  it('is limited without knowing', async () => {
    const limiter = new RateLimitedRPC({ limits: [{ by: 'principal', requests: 1, windowMs: 60_000 }] });
    onTestFinished(() => limiter.close());
    const { url, server } = await startHttp({ service: await host(), middleware: [limiter.middleware] });
    const passed = await fetch(url, callTool('shout', { text: 'a' }));
    expect(passed.status).toBe(200);
    expect(passed.headers.get('ratelimit')).toMatch(/;r=0;t=\d+$/);
    expect(passed.headers.get('ratelimit-policy')).toMatch(/;q=1;w=60$/);
    const refused = await fetch(url, callTool('shout', { text: 'b' }));
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ id: 7, error: { code: 429, data: { retryAfterMs: expect.any(Number) } } });
    expect((await fetch(url, callTool('shout', { text: 'c' }, { authorization: `Bearer ${token({ sub: 'bob' })}` }))).status).toBe(200);
    expect(server.metrics()).toMatchObject({ totalRequests: 3, rateLimitHits: 1, errors: 0 });
  });
});

describe('a WebSocket listener on the same port', () => {
  const start = async () => {
    const started = await startHttp({
      service: testService().service,
      listeners: [http({ port: 0, upgrades: [encryptedWebSocket({ path: '/ws' })] })],
    });
    return { ...started, ws: started.server.endpoints[1] as string };
  };

  it('serves the same service to the same principals, and counts as one connection', async () => {
    const { server, ws, url } = await start();
    expect(ws).toBe(`ws://${url.host}/ws`);
    const client = newClient('auto');
    await client.connect(new WebSocketClientTransport(ws, { token: () => token() }) as never);
    onTestFinished(() => client.close());
    expect(JSON.stringify(await client.callTool({ name: 'whoami', arguments: {} }))).toContain('alice');
    expect(server.metrics().activeConnections).toBe(1);
    await server.drain(1000);
    await server.stop();
    expect(server.metrics().activeConnections).toBe(0);
  });

  it.each([
    ['a foreign Origin', '/ws', { origin: 'https://evil.example' }, 403],
    ['another path', '/other', {}, 404],
  ])('does not see %s', async (_name, path, headers, status) => {
    const { url, server } = await start();
    const { request } = await import('node:http');
    const answered = await new Promise((resolve) => {
      const upgrade = {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      };
      const attempt = request({ host: url.hostname, port: url.port, path, headers: { ...upgrade, ...headers } }, (response) => {
        const { socket } = response;
        response.resume().on('end', () => socket.destroy());
        resolve(response.statusCode);
      });
      attempt.on('upgrade', () => resolve(101));
      attempt.end();
    });
    expect(answered).toBe(status);
    await vi.waitFor(() => expect(server.metrics().activeConnections).toBe(0));
  });
});
