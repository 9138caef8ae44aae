import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { compose, type RpcContext, RpcError, type RpcHandler } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { limitFetch, RateLimitedRPC, RpcCaller } from '@mcp-blocks/rate-limited-rpc';
import { clusterLimits, serveClusterLimits } from '@mcp-blocks/rate-limited-rpc/cluster';
import { flexibleLimits } from '@mcp-blocks/rate-limited-rpc/flexible';
import { redisLimits } from '@mcp-blocks/rate-limited-rpc/redis';
import { limitTransport } from '@mcp-blocks/rate-limited-rpc/sdk';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import pg from 'pg';
import { RateLimiterPostgres } from 'rate-limiter-flexible';
import { expect, it } from 'vitest';

function between(name: string): string {
  const source = readFileSync(new URL(import.meta.url), 'utf8');
  return source.split(`// ${name}:start\n`)[1]!.split(`// ${name}:end`)[0]!;
}

const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('import '));

it('the examples of the README are the ones run here', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => lines(code!));
  expect(blocks).toEqual([
    lines(readFileSync(new URL('./readme/limited-server.ts', import.meta.url), 'utf8')),
    lines(between('bare')),
    lines(between('client')),
    lines(between('redis')),
    lines(between('cluster')),
    lines(between('flexible')),
    lines(between('caller')),
  ]);
});

it('limits a server somebody else wrote', async () => {
  const { fetch, limiter } = await import('./readme/limited-server.js');
  const connect = async (id: string) => {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    const toServer = (url: string | URL, init?: RequestInit) => fetch(new Request(url, init), testPrincipal({ id }));
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: toServer }));
    return client;
  };
  const client = await connect('alice');
  await client.callTool({ name: 'now' });
  await client.callTool({ name: 'now' });
  await expect(client.callTool({ name: 'now' })).rejects.toMatchObject({ code: 429, data: { limit: 2, remaining: 0 } });
  expect((await client.listTools()).tools).toHaveLength(1);
  const other = await connect('bob');
  expect((await other.callTool({ name: 'now' })).content).toHaveLength(1);
  await Promise.all([client.close(), other.close()]);
  await limiter.close();
});

it('limits a client before it sends', async () => {
  const sent: string[] = [];
  const send: RpcHandler = async ({ method }) => {
    sent.push(method);
    return {};
  };
  const { request, limiter } = clientExample(send);
  const context: RpcContext = testContext({ principal: testPrincipal() });
  for (let i = 0; i < 5; i += 1) await request({ method: 'tools/list', params: {} }, context);
  await expect(request({ method: 'tools/list', params: {} }, context)).rejects.toMatchObject({ code: 'rate_limited' });
  expect(sent).toHaveLength(5);
  await limiter.close();
});

it('limits several processes together', async () => {
  const url = process.env.MCP_BLOCKS_REDIS_URL as string;
  // redis:start
  const limiter = new RateLimitedRPC({
    limits: [{ by: 'principal', requests: 100, windowMs: 60_000, algorithm: 'sliding-window' }],
    store: redisLimits({ url, insurance: { processes: 4 } }),
  });
  // redis:end
  const principal = testPrincipal({ id: randomUUID() });
  const other = new RateLimitedRPC({
    limits: [{ by: 'principal', requests: 100, windowMs: 60_000, algorithm: 'sliding-window' }],
    store: redisLimits({ url }),
  });
  const handle = compose(async () => ({}), [limiter.middleware]);
  for (let i = 0; i < 3; i += 1) await handle({ method: 'tools/list', params: {} }, testContext({ principal }));
  expect(await other.getRateLimitStatus({ principal })).toMatchObject([{ used: 3, remaining: 97 }]);
  await Promise.all([limiter.close(), other.close()]);
});

it('counts in PostgreSQL', async () => {
  const pool = new pg.Pool({ connectionString: process.env['MCP_BLOCKS_POSTGRES_URL'] as string });
  await new Promise<void>((resolve, reject) => {
    new RateLimiterPostgres(
      { storeClient: pool, tableName: 'rate_limits', points: 1, duration: 1, clearExpiredByTimeout: false },
      (error) => (error ? reject(error) : resolve()),
    );
  });
  // flexible:start
  // `limit` has `points`, `duration` in seconds and `keyPrefix`; the library can make the table beforehand.
  const store = flexibleLimits({
    limiter: (limit) => new RateLimiterPostgres({ ...limit, storeClient: pool, tableName: 'rate_limits', tableCreated: true }),
  });
  // flexible:end
  const limiter = new RateLimitedRPC({ limits: [{ name: 'each', by: 'principal', requests: 2, windowMs: 60_000 }], store });
  const context = testContext({ principal: testPrincipal({ id: randomUUID() }) });
  const handle = compose(async () => ({}), [limiter.middleware]);
  for (let i = 0; i < 2; i += 1) await handle({ method: 'tools/list', params: {} }, context);
  await expect(handle({ method: 'tools/list', params: {} }, context)).rejects.toMatchObject({ code: 'rate_limited' });
  await limiter.close();
  await pool.end();
});

it('limits a bare transport and an endpoint', async () => {
  const [clientEnd, transport] = InMemoryTransport.createLinkedPair();
  const limiter = new RateLimitedRPC({ limits: [{ by: 'principal', requests: 1, windowMs: 60_000 }] });
  const server = new McpServer({ name: 'clock', version: '1.0.0' });
  server.registerTool('now', {}, async () => ({ content: [] }));
  const handler = { fetch: async (_request: Request) => Response.json({ jsonrpc: '2.0', id: 1, result: {} }) };
  const principal = testPrincipal();
  const identify = (_request: Request) => principal;
  // bare:start
  await server.connect(limitTransport(transport, limiter, { principal, transport: 'memory' }));

  const fetch = limitFetch(
    (request) => handler.fetch(request),
    limiter,
    (request) => ({ principal: identify(request) }),
  );
  // bare:end
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(clientEnd);
  await client.listTools();
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  expect((await fetch(new Request('http://127.0.0.1/mcp', { method: 'POST', body }))).status).toBe(429);
  await client.close();
  await limiter.close();
});

it('counts for workers in the primary', async () => {
  // cluster:start
  // In the primary, before it forks:
  const stop = serveClusterLimits();

  // In the workers:
  const store = clusterLimits({ timeoutMs: 1_000 });
  // cluster:end
  // This process is a primary without workers; cluster.test.ts has some.
  expect(() => new RateLimitedRPC({ limits: [{ by: 'principal', requests: 1, windowMs: 1 }], store })).toThrow('workers');
  await stop();
});

it('calls with retries, and in batches', async () => {
  let refusals = 1;
  const handler: RpcHandler = async ({ method, params }) => {
    if (method === 'tools/list' && refusals-- > 0) throw new RpcError('unavailable', 'starting');
    if (params.name === 'gone') throw new RpcError('invalid_params', 'Unknown tool');
    return { tools: [] };
  };
  // caller:start
  const caller = new RpcCaller({ handler, timeoutMs: 10_000, retryBudget: { ratio: 0.2, minPerSecond: 3 } });
  const tools = await caller.call('tools/list');
  const results = await caller.batchCall([
    { method: 'tools/call', params: { name: 'now' } },
    { method: 'tools/call', params: { name: 'gone' } },
  ]);
  const failed = results.filter(({ ok }) => !ok);
  // caller:end
  expect(tools).toEqual({ tools: [] });
  expect(failed).toHaveLength(1);
});

function clientExample(send: RpcHandler) {
  // client:start
  const limiter = new RateLimitedRPC({ limits: [{ by: () => 'everything', requests: 5, windowMs: 1_000 }] });
  const request = compose(send, [limiter.middleware]);
  // client:end
  return { request, limiter };
}
