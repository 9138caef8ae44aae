import { randomUUID } from 'node:crypto';
import { RpcError } from '@mcp-blocks/core';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { expect, it, onTestFinished } from 'vitest';
import { limitFetch, RateLimitedRPC, type RateLimitedRpcOptions } from '../src/index.js';

const hour = 3_600_000;
const post = (body: string) =>
  new Request('http://127.0.0.1/mcp', { method: 'POST', body, headers: { 'content-type': 'application/json' } });
const message = (method: string, params: object = {}, id: string | number = randomUUID()) =>
  post(JSON.stringify({ jsonrpc: '2.0', id, method, params }));

function limiting(limits: RateLimitedRpcOptions['limits'], endpoint: (request: Request) => Promise<Response>) {
  const limiter = new RateLimitedRPC({ limits });
  onTestFinished(() => limiter.close());
  const fetch = limitFetch(endpoint, limiter, (request) => ({
    principal: testPrincipal({ id: request.headers.get('x-user') ?? 'alice' }),
    remoteAddress: '192.0.2.1',
  }));
  return { limiter, fetch };
}

it('limits an SDK endpoint, in front of an SDK client', async () => {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: 'clock', version: '1' });
    server.registerTool('now', {}, async () => ({ content: [{ type: 'text', text: 'now' }] }));
    return server;
  });
  const { fetch } = limiting([{ by: 'principal+tool', requests: 2, windowMs: hour }], (request) => handler.fetch(request));
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL('http://127.0.0.1/mcp'), {
      fetch: async (url, init) => fetch(new Request(url, init as RequestInit)),
    }),
  );
  onTestFinished(async () => {
    await client.close();
    await handler.close();
  });
  for (let i = 0; i < 2; i += 1) expect((await client.callTool({ name: 'now' })).content).toHaveLength(1);
  await expect(client.callTool({ name: 'now' })).rejects.toThrow();
  expect((await client.listTools()).tools).toHaveLength(1);
});

it('answers a refused call with status, headers and error', async () => {
  const { fetch } = limiting([{ by: 'ip', requests: 1, windowMs: 60_000 }], async () =>
    Response.json({ jsonrpc: '2.0', id: 1, result: {} }),
  );
  expect((await fetch(message('tools/list'))).status).toBe(200);
  const response = await fetch(message('tools/list', {}, 7));
  expect(response.status).toBe(429);
  expect(response.headers.get('retry-after')).toBe('60');
  expect(response.headers.get('ratelimit')).toBe('"ip";r=0;t=60');
  expect(await response.json()).toMatchObject({ jsonrpc: '2.0', id: 7, error: { code: 429, data: { limit: 1, by: 'ip' } } });
});

it('tells with a call that passed what is left', async () => {
  const { fetch } = limiting([{ by: 'principal', requests: 3, windowMs: hour, name: 'calls' }], async () =>
    Response.json({ jsonrpc: '2.0', id: 1, result: {} }, { status: 200, headers: { 'x-own': 'kept' } }),
  );
  const { headers } = await fetch(message('tools/list'));
  expect(Object.fromEntries(headers)).toMatchObject({
    ratelimit: '"calls";r=2;t=3600',
    'ratelimit-policy': '"calls";q=3;w=3600',
    'x-own': 'kept',
  });
});

it('lets pass what is no request, as it came, and refuses what is no message', async () => {
  const seen: string[] = [];
  const { fetch } = limiting([{ by: 'principal', requests: 1, windowMs: hour }], async (request) => {
    seen.push(`${request.method} ${await request.text()}`);
    return new Response(null, { status: 202 });
  });
  const notification = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
  for (let i = 0; i < 3; i += 1) {
    await fetch(new Request('http://127.0.0.1/mcp'));
    await fetch(post(notification));
  }
  expect(seen).toHaveLength(6);
  expect(seen[1]).toBe(`POST ${notification}`);
  for (const text of ['[]', '{', `[${notification}]`, '"x"']) expect((await fetch(post(text))).status).toBe(400);
  expect(seen).toHaveLength(6);
});

it('reads no more than its bound', async () => {
  const limiter = new RateLimitedRPC({ limits: [{ by: 'principal', requests: 1, windowMs: hour }] });
  const fetch = limitFetch(
    async () => new Response(),
    limiter,
    () => ({ principal: testPrincipal() }),
    { maxBodyBytes: 100 },
  );
  expect((await fetch(message('tools/list', { text: 'x'.repeat(100) }))).status).toBe(413);
  await limiter.close();
});

it('counts a call in progress until its response has been read or given up', async () => {
  const bodies: ReadableStreamDefaultController<Uint8Array>[] = [];
  const { fetch, limiter } = limiting([{ by: 'principal', concurrent: 2 }], async () => {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void bodies.push(controller) });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  });
  const used = async () => (await limiter.getRateLimitStatus({ principal: testPrincipal({ id: 'alice' }) }))[0]?.used;
  const [read, left] = [await fetch(message('tools/list')), await fetch(message('tools/list'))];
  expect((await fetch(message('tools/list'))).status).toBe(429);
  bodies[0]?.enqueue(new TextEncoder().encode('data: 1\n\n'));
  bodies[0]?.close();
  expect(await read.text()).toBe('data: 1\n\n');
  await expect.poll(used).toBe(1);
  await left.body?.cancel();
  await expect.poll(used).toBe(0);
});

it.each([
  ['error', Response.json({ error: { code: 1, message: 'x' } }), 0],
  ['isError', Response.json({ result: { isError: true } }), 0],
  ['status', new Response('gone', { status: 404 }), 0],
  ['success', Response.json({ result: {} }), 1],
])('gives a failed call back: %s', async (_name, response, used) => {
  const { fetch, limiter } = limiting([{ by: 'principal', requests: 5, windowMs: hour, skipFailed: true }], async () => response);
  await (await fetch(message('tools/list'))).text();
  await expect.poll(async () => (await limiter.getRateLimitStatus({ principal: testPrincipal({ id: 'alice' }) }))[0]?.used).toBe(used);
});

it.each([new TypeError('broken'), new RpcError('unavailable', 'broken')])('passes on what the endpoint throws: %s', async (error) => {
  const { fetch } = limiting([{ by: 'principal', requests: 5, windowMs: hour }], async () => {
    throw error;
  });
  await expect(fetch(message('tools/list'))).rejects.toBe(error);
  await expect(fetch(post('{"jsonrpc":"2.0","method":"notifications/initialized"}'))).rejects.toBe(error);
});
