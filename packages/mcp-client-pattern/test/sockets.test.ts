import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type JsonObject, META, type RpcContext, type RpcError, type RpcService } from '@mcp-blocks/core';
import { McpServer as V1McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { MCPClientPattern } from '../src/index.js';
import { connectTo, Door, startServer, Tokens, until } from './real-server.js';
import { metaOf, watch } from './support.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Waits for a gate in `wait` and `look`; counts the effects of `pay` by idempotency key. */
function testService() {
  const effects = new Map<string, number>();
  let arrived: () => void = () => {};
  let gate = Promise.resolve();
  let openGate: () => void = () => {};
  const tool = (name: string, annotations: JsonObject = {}) => ({ name, inputSchema: { type: 'object' }, annotations });
  const handler = async ({ method, params }: { method: string; params: JsonObject }, context: RpcContext): Promise<JsonObject> => {
    if (method === 'tools/list')
      return { tools: [tool('pay'), tool('look', { readOnlyHint: true }), tool('stream', { readOnlyHint: true })] };
    if (method === 'resources/read') return { contents: [{ uri: String(params.uri), text: 'text' }] };
    const key = String(metaOf(params)[META.idempotencyKey]);
    effects.set(key, (effects.get(key) ?? 0) + 1);
    if (params.name === 'stream') {
      const { progressToken } = metaOf(params);
      await context.notify('notifications/progress', { progressToken: progressToken as string, progress: 1 });
    }
    arrived();
    await gate;
    return { content: [{ type: 'text', text: `${context.transport} ${String((params.arguments as JsonObject | undefined)?.n)}` }] };
  };
  const service: RpcService = { info: { name: 'test', version: '1', capabilities: { tools: {}, resources: {} } }, handler };
  return {
    service,
    effects,
    hold() {
      gate = new Promise((resolve) => (openGate = resolve));
      return new Promise<void>((resolve) => (arrived = resolve));
    },
    release: () => openGate(),
  };
}

async function start(options: { tokens?: Tokens } = {}, config: Parameters<typeof connectTo>[1] = {}) {
  const test = testService();
  const running = await startServer(test.service, options);
  const client = connectTo({ http: running.httpDoor.port, webSocket: running.webSocketDoor.port }, config);
  cleanups.push(
    running.stop,
    () => client.close(),
    async () => test.release(),
  );
  return { ...test, ...running, client };
}

describe('a WebSocket cut in the middle', () => {
  it('loses no request that may be repeated, goes on over HTTP and comes back', async () => {
    const { client, hold, release, webSocketDoor, effects } = await start();
    await client.listTools();
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'websocket' });
    const arrived = hold();
    const looks = Array.from({ length: 30 }, (_, n) => client.callTool('look', { n }));
    const pay = watch(client.callTool('pay', {}, { priority: 9 }));
    await arrived;
    await until(client, ({ state }) => state === 'connected');
    await vi.waitFor(() => expect(client.getMetrics().activeRequests).toBe(10));
    await webSocketDoor.shut();
    release();
    const answers = await Promise.all(looks);
    expect(answers.map(({ content }) => (content[0] as { text: string }).text)).toEqual(Array.from({ length: 30 }, (_, n) => `http ${n}`));
    // 31 calls for 10 places: this one was still in the queue, or sent and then not repeated.
    await vi.waitFor(() => expect(pay.settled).toBe(true));
    expect(pay.error?.code ?? 'answered').toMatch(/^(ambiguous_outcome|answered)$/);
    expect(Math.max(...effects.values())).toBeLessThanOrEqual(2);
    expect(client.getConnectionStatus()).toMatchObject({ transport: 'http' });
    await webSocketDoor.open();
    await until(client, ({ transport }) => transport === 'websocket');
    expect((await client.callTool('look')).content).toEqual([{ type: 'text', text: 'websocket undefined' }]);
    expect(client.getMetrics()).toMatchObject({ fallbacks: 1, reconnects: 2 });
  });

  it('never runs a call twice that may not be repeated, however often it is cut', async () => {
    const { client, hold, release, webSocketDoor, httpDoor, effects } = await start();
    await client.connect();
    const arrived = hold();
    const calls = Array.from({ length: 200 }, () => watch(client.callTool('pay')));
    // Of these nobody can know.
    await arrived;
    webSocketDoor.cut();
    httpDoor.cut();
    release();
    for (let cut = 0; cut < 6; cut += 1) {
      await until(client, ({ state }) => state === 'connected');
      const before = effects.size;
      await vi.waitFor(() => expect(effects.size > before || calls.every(({ settled }) => settled)).toBe(true));
      webSocketDoor.cut();
      httpDoor.cut();
    }
    await vi.waitFor(() => expect(calls.every(({ settled }) => settled)).toBe(true), 10_000);
    expect(new Set(calls.map(({ error }) => error?.code))).toEqual(new Set([undefined, 'ambiguous_outcome']));
    expect(Math.max(...effects.values())).toBe(1);
    const answered = calls.filter(({ value }) => value !== undefined).length;
    expect(answered).toBeGreaterThan(100);
    expect(effects.size).toBeGreaterThanOrEqual(answered);
  });

  it('is followed by another when the server restarts, in whatever order', async () => {
    const { client, webSocketDoor, httpDoor, server } = await start();
    await client.connect();
    await Promise.all([webSocketDoor.shut(), httpDoor.shut()]);
    await until(client, ({ state }) => state === 'reconnecting');
    const call = client.callTool('pay', { n: 1 });
    expect(server.status).toBe('running');
    await httpDoor.open();
    expect((await call).content).toEqual([{ type: 'text', text: 'http 1' }]);
    await webSocketDoor.open();
    await until(client, ({ transport }) => transport === 'websocket');
  });

  it('by a draining server fails no call in progress', async () => {
    const { client, server, hold, release } = await start({}, { enableReconnection: true, maxConcurrentRequests: 4 });
    await client.connect();
    const arrived = hold();
    const call = client.callTool('pay', { n: 7 });
    await arrived;
    const draining = server.drain(5000);
    release();
    expect((await call).content).toEqual([{ type: 'text', text: 'websocket 7' }]);
    await draining;
    await until(client, ({ state }) => state !== 'connected');
  });
});

describe('HTTP alone', () => {
  const only = { enableWebSocket: false };

  it.each(['look', 'stream'])('repeats a read-only call whose response was cut: %s', async (tool) => {
    const { client, hold, release, httpDoor, effects } = await start({}, only);
    await client.listTools();
    const arrived = hold();
    const call = client.callTool(tool, { n: 1 }, { onProgress: () => {} });
    await arrived;
    httpDoor.cut();
    release();
    expect((await call).content).toEqual([{ type: 'text', text: 'http 1' }]);
    expect([...effects.values()]).toEqual([2]);
  });

  it('does not repeat another, and goes on', async () => {
    const { client, hold, release, httpDoor, effects } = await start({}, only);
    await client.connect();
    const arrived = hold();
    const call = watch(client.callTool('pay'));
    await arrived;
    httpDoor.cut();
    release();
    await vi.waitFor(() => expect(call.settled).toBe(true));
    expect(call.error).toMatchObject({ code: 'ambiguous_outcome' });
    expect([...effects.values()]).toEqual([1]);
    expect((await client.callTool('pay', { n: 2 })).content).toEqual([{ type: 'text', text: 'http 2' }]);
  });

  it('sends a call later that found nobody listening', async () => {
    const { client, httpDoor, effects } = await start({}, only);
    await client.connect();
    await httpDoor.shut();
    const call = client.callTool('pay', { n: 3 });
    await until(client, ({ state }) => state === 'reconnecting');
    await httpDoor.open();
    expect((await call).content).toEqual([{ type: 'text', text: 'http 3' }]);
    expect([...effects.values()]).toEqual([1]);
  });
});

it('waits for a server that is not up yet', async () => {
  const door = new Door();
  await door.open(1);
  await door.shut();
  const client = connectTo({ http: door.port, webSocket: door.port });
  cleanups.push(() => client.close());
  const calls = [client.callTool('pay', { n: 1 }), client.readResource('test://a')];
  await vi.waitFor(() => expect(client.getConnectionStatus().reconnectAttempts).toBeGreaterThan(0));
  expect(client.getMetrics()).toMatchObject({ queuedRequests: 2, activeRequests: 0 });
  const running = await startServer(testService().service);
  cleanups.push(running.stop, () => door.shut());
  await door.open(running.httpDoor.port);
  const [paid, read] = await Promise.all(calls);
  expect(paid).toMatchObject({ content: [{ text: 'http 1' }] });
  expect(read).toMatchObject({ contents: [{ text: 'text' }] });
});

it('keeps the process alive while a request waits, and no longer', async () => {
  const started = vi.spyOn(globalThis, 'setInterval');
  const client = connectTo({ http: 1, webSocket: 1 }, { reconnectOptions: { initialDelay: 60_000, maxDelay: 60_000 } });
  cleanups.push(() => client.close());
  const calls = [watch(client.callTool('pay')), watch(client.callTool('pay'))];
  await vi.waitFor(() => expect(client.getConnectionStatus().reconnectAttempts).toBe(1));
  const own = started.mock.calls.flatMap(([, delay], index) =>
    delay === 2_147_483_647 ? [started.mock.results[index]?.value as NodeJS.Timeout] : [],
  );
  expect(own.map((timer) => timer.hasRef())).toEqual([true]);
  const stopped = vi.spyOn(globalThis, 'clearInterval');
  await client.close();
  await vi.waitFor(() => expect(calls.map(({ error }) => error?.code)).toEqual(['cancelled', 'cancelled']));
  expect(stopped).toHaveBeenCalledWith(own[0]);
});

describe('credentials', () => {
  it.each([true, false])('are renewed once for many requests refused with 401 (WebSocket: %s)', async (enableWebSocket) => {
    const tokens = new Tokens();
    let issued = 0;
    const token = vi.fn(async () => {
      const value = `token-${++issued}`;
      tokens.valid.add(value);
      return value;
    });
    const { client, webSocketDoor } = await start({ tokens }, { credentials: { token }, enableWebSocket });
    await client.connect();
    tokens.valid.clear();
    webSocketDoor.cut();
    if (enableWebSocket) await until(client, ({ state }) => state === 'reconnecting');
    await Promise.all(Array.from({ length: 20 }, (_, n) => client.callTool('pay', { n })));
    expect(token).toHaveBeenCalledTimes(2);
    expect(client.getMetrics()).toMatchObject({ successfulRequests: 20, failedRequests: 0 });
  });

  it.each([true, false])('that are wrong fail at once (WebSocket: %s)', async (enableWebSocket) => {
    const { client, server } = await start({ tokens: new Tokens() }, { credentials: { token: 'wrong-and-secret' }, enableWebSocket });
    const failure = await client.listTools().catch((error: unknown) => error as RpcError);
    expect(failure).toMatchObject({ code: 'unauthenticated' });
    expect(JSON.stringify(failure)).not.toContain('wrong-and-secret');
    expect(client.getConnectionStatus()).toMatchObject({ state: 'disconnected', reconnectAttempts: 1 });
    expect(server.metrics().authFailures).toBe(1);
  });
});

describe('a server of SDK v1', () => {
  async function startV1() {
    const sessions = new Map<string, StreamableHTTPServerTransport>();
    let initialized = 0;
    const server = createServer(async (request, response) => {
      const id = request.headers['mcp-session-id'];
      let transport = typeof id === 'string' ? sessions.get(id) : undefined;
      if (id !== undefined && transport === undefined) {
        response.writeHead(404).end();
        return;
      }
      if (transport === undefined) {
        initialized += 1;
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => `session-${initialized}`,
          onsessioninitialized: (session) => void sessions.set(session, transport as StreamableHTTPServerTransport),
          onsessionclosed: (session) => void sessions.delete(session),
        });
        const mcp = new V1McpServer({ name: 'old', version: '1.0.0' });
        mcp.registerTool('shout', { inputSchema: { text: z.string() } }, async ({ text }) => ({
          content: [{ type: 'text', text: text.toUpperCase() }],
        }));
        await mcp.connect(transport as never);
      }
      await transport.handleRequest(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(async () => {
      for (const transport of sessions.values()) await transport.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const client = new MCPClientPattern({
      serverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      reconnectOptions: { initialDelay: 20, maxDelay: 100 },
    });
    cleanups.push(() => client.close());
    return { client, sessions };
  }

  it('is spoken to in the legacy era over HTTP', async () => {
    const { client, sessions } = await startV1();
    expect((await client.callTool('shout', { text: 'hi' })).content).toEqual([{ type: 'text', text: 'HI' }]);
    expect(client.getConnectionStatus()).toMatchObject({ transport: 'http', era: 'legacy' });
    await client.close();
    expect(sessions.size, 'sessions left on the server').toBe(0);
  });

  it('whose session is gone with a 404 is initialised anew, and gets any call again', async () => {
    const { client, sessions } = await startV1();
    await client.callTool('shout', { text: 'hi' });
    for (const transport of sessions.values()) await transport.close();
    sessions.clear();
    expect((await client.callTool('shout', { text: 'again' })).content).toEqual([{ type: 'text', text: 'AGAIN' }]);
    expect(client.getMetrics()).toMatchObject({ failedRequests: 0, reconnects: 1 });
  });
});
