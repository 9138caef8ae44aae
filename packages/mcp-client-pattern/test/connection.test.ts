import { META, RpcError } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AmbiguousOutcomeError, sdkConnector } from '../src/index.js';
import { type Bench, bench, metaOf, settle, watch } from './support.js';

let open: Bench[] = [];
function start(...args: Parameters<typeof bench>): Bench {
  const made = bench(...args);
  open.push(made);
  return made;
}
afterEach(async () => {
  const closing = open;
  open = [];
  for (const { client } of closing) await client.close();
  await settle();
  for (const { clock, webSocket, http } of closing) {
    expect(clock.pendingTimers, 'timers left').toBe(0);
    expect(webSocket.open + http.open, 'connections left').toBe(0);
  }
});

describe('choosing a transport', () => {
  it('prefers the WebSocket', async () => {
    const { client, http } = start();
    await client.connect();
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'websocket', era: 'modern', reconnectAttempts: 0 });
    expect(http.attempts).toBe(0);
  });

  it('takes HTTP at once when the WebSocket cannot be opened, and moves back when it can', async () => {
    const { client, clock, webSocket, http } = start();
    webSocket.up = false;
    await client.connect();
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'http' });
    expect(client.getMetrics()).toMatchObject({ fallbacks: 1, reconnects: 0 });
    await clock.advance(60_000);
    expect(client.getConnectionStatus().transport).toBe('http');
    webSocket.up = true;
    await clock.advance(30_000);
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'websocket' });
    expect(client.getMetrics()).toMatchObject({ fallbacks: 1, reconnects: 1 });
    expect(http.open).toBe(0);
  });

  it('lets requests in progress finish on the transport it moves away from', async () => {
    const { client, clock, service, webSocket, http } = start();
    webSocket.up = false;
    await client.connect();
    service.hold.add('pay');
    const call = watch(client.callTool('pay', { a: 1 }, { timeout: 600_000 }));
    await settle();
    webSocket.up = true;
    await clock.advance(60_000);
    expect(client.getConnectionStatus().transport).toBe('websocket');
    expect(http.open).toBe(1);
    service.release('pay');
    await settle();
    expect(call.value?.content).toEqual([{ type: 'text', text: 'pay {"a":1} 1' }]);
    expect(http.open).toBe(0);
  });

  it('probes for the WebSocket with growing pauses', async () => {
    const { client, clock, webSocket } = start();
    webSocket.up = false;
    await client.connect();
    expect(webSocket.attempts).toBe(1);
    await clock.advance(500);
    expect(webSocket.attempts).toBe(2);
    await clock.advance(749);
    expect(webSocket.attempts).toBe(2);
    await clock.advance(1);
    expect(webSocket.attempts).toBe(3);
    await clock.advance(600_000);
    // Half of the longest pause, again and again.
    expect(webSocket.attempts).toBeGreaterThan(40);
    expect(webSocket.attempts).toBeLessThan(55);
  });

  it.each([
    [{ enableWebSocket: false }, 'http'],
    [{ enableHttpFallback: false }, 'websocket'],
  ])('uses only what %o leaves', async (config, transport) => {
    const { client } = start(config);
    await client.connect();
    expect(client.getConnectionStatus().transport).toBe(transport);
  });

  it('does not use HTTP when the fallback is off', async () => {
    const { client, webSocket, http } = start({ enableHttpFallback: false, enableReconnection: false });
    webSocket.up = false;
    await expect(client.connect()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('websocket is down') });
    expect(http.attempts).toBe(0);
  });
});

describe('a lost connection', () => {
  it('falls back to HTTP without losing a request that reads', async () => {
    const { client, service, webSocket } = start();
    await client.connect();
    service.hold.add('resources/read');
    const read = watch(client.readResource('test://a'));
    await settle();
    expect(service.count('resources/read')).toBe(1);
    service.hold.clear();
    await webSocket.cut(true);
    expect(read.value?.contents[0]).toMatchObject({ text: 'read 2' });
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'http' });
    expect(client.getMetrics()).toMatchObject({ failedRequests: 0, reconnects: 1, fallbacks: 1 });
  });

  it.each(['look', 'put'])('sends a tool call again that tools/list declared repeatable: %s', async (tool) => {
    const { client, service, webSocket } = start();
    await client.listTools();
    service.hold.add(tool);
    const call = watch(client.callTool(tool));
    await settle();
    service.hold.clear();
    await webSocket.cut();
    expect(call.value).toBeDefined();
    const keys = service.received.filter(({ method }) => method === 'tools/call').map(({ params }) => metaOf(params)[META.idempotencyKey]);
    expect(keys).toEqual(['key-1', 'key-1']);
  });

  it('does not repeat another tool call that may have been carried out', async () => {
    const { client, service, webSocket } = start();
    await client.listTools();
    service.hold.add('pay');
    const call = watch(client.callTool('pay'));
    await settle();
    await webSocket.cut();
    expect(call.error).toBeInstanceOf(AmbiguousOutcomeError);
    expect(call.error).toMatchObject({
      code: 'ambiguous_outcome',
      reason: 'connection_lost',
      method: 'tools/call',
      tool: 'pay',
      idempotencyKey: 'key-1',
      message: expect.stringContaining('key-1'),
    });
    expect(client.getMetrics()).toMatchObject({ ambiguousOutcomes: 1, retries: 0 });
    expect(service.count('tools/call')).toBe(1);
    expect(client.getConnectionStatus().state).toBe('connected');
  });

  it('does not repeat a tool it knows nothing about, nor a custom method', async () => {
    const { client, service, webSocket } = start();
    await client.connect();
    service.hold.add('look').add('acme/do');
    const call = watch(client.callTool('look'));
    const custom = watch(client.request('acme/do', {}));
    await settle();
    await webSocket.cut();
    expect(call.error?.code).toBe('ambiguous_outcome');
    expect(custom.error?.code).toBe('ambiguous_outcome');
  });

  it('sends any call again that a server which said goodbye had not read', async () => {
    let unread = true;
    const { client, clock, service } = start({
      connectors: ({ protocol }) => [
        sdkConnector(
          'custom',
          protocol,
          () => {
            const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
            serveChannel(service, serverEnd, { principal: testPrincipal(), transport: 'custom' });
            ends.push(serverEnd);
            return clientEnd;
          },
          () => ({ unansweredWasUnread: unread }),
        ),
      ],
    });
    const ends: InMemoryTransport[] = [];
    await client.connect();
    for (const code of [undefined, 'ambiguous_outcome']) {
      service.hold.add('pay');
      const call = watch(client.callTool('pay'));
      await settle();
      service.hold.clear();
      await ends.at(-1)?.close();
      await clock.advance(500);
      await settle();
      expect(call.error?.code).toBe(code);
      unread = false;
      await client.reconnect();
    }
    expect(service.count('tools/call')).toBe(3);
  });

  it('later sends what was waiting, any tool, in its order', async () => {
    const { client, clock, service, webSocket, http } = start();
    await client.connect();
    http.up = false;
    await webSocket.cut(true);
    const calls = [1, 2, 3].map((n) => watch(client.callTool('pay', { n }, { priority: n === 3 ? 1 : 0 })));
    await clock.advance(1000);
    expect(calls.map(({ settled }) => settled)).toEqual([false, false, false]);
    expect(client.getConnectionStatus()).toMatchObject({ state: 'reconnecting', transport: null });
    expect(client.getMetrics().queuedRequests).toBe(3);
    webSocket.up = true;
    await clock.advance(10_000);
    expect(calls.every(({ value }) => value !== undefined)).toBe(true);
    expect(service.received.map(({ params }) => (params.arguments as { n: number }).n)).toEqual([3, 1, 2]);
  });

  it('puts a request that is sent again back where it stood', async () => {
    const { client, service, webSocket } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    service.hold.add('resources/read');
    const reads = ['test://a', 'test://b', 'test://c'].map((uri) => client.readResource(uri));
    await settle();
    service.hold.clear();
    await webSocket.cut();
    await Promise.all(reads);
    expect(service.received.map(({ params }) => params.uri)).toEqual(['test://a', 'test://a', 'test://b', 'test://c']);
  });

  it('stops repeating a request that kills its connection every time', async () => {
    const { client, clock, service, webSocket } = start({ enableHttpFallback: false });
    await client.connect();
    service.hold.add('resources/read');
    const read = watch(client.readResource('test://a', { timeout: 600_000 }));
    for (let kill = 0; kill < 5; kill += 1) {
      await clock.advance(5_000);
      await webSocket.cut();
    }
    expect(read.error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('3 times'), data: { sent: true } });
    expect(service.count('resources/read')).toBe(3);
  });

  it('does not storm a server that drops every connection at once', async () => {
    const { client, clock, webSocket } = start({ enableHttpFallback: false });
    await client.connect();
    let drops = 0;
    client.on('statusChange', ({ state }) => {
      if (state === 'connected') {
        drops += 1;
        void webSocket.cut();
      }
    });
    await webSocket.cut();
    await clock.advance(10_000);
    expect(drops).toBeGreaterThan(2);
    expect(drops).toBeLessThan(10);
  });

  it('goes to HTTP when a WebSocket opens but does not last', async () => {
    const { client, webSocket } = start();
    await client.connect();
    const read = watch(client.readResource('test://a'));
    await webSocket.cut();
    expect(client.getConnectionStatus()).toMatchObject({ transport: 'http' });
    expect(read.settled).toBe(true);
  });

  it('tells listeners of every change of state, transport or last error', async () => {
    const { client, clock, webSocket, http } = start();
    const seen: string[] = [];
    const stop = client.on('statusChange', ({ state, transport, lastError }) =>
      seen.push(`${state} ${transport} ${lastError?.message.split(';')[0] ?? '-'}`),
    );
    await client.connect();
    await clock.advance(5_000);
    http.up = false;
    await webSocket.cut(true);
    webSocket.up = true;
    await clock.advance(5_000);
    stop();
    await webSocket.cut();
    const failed = 'Cannot connect. websocket: websocket is down';
    expect(seen).toEqual([
      'connecting null -',
      'connected websocket -',
      'reconnecting null The server closed the connection',
      `reconnecting null ${failed}`,
      `connected websocket ${failed}`,
    ]);
  });
});

describe('reconnecting', () => {
  it('waits a random time below a growing bound, and gives up after maxAttempts', async () => {
    const times: number[] = [];
    const { client, clock, webSocket, http } = start({
      reconnectOptions: { maxAttempts: 4, initialDelay: 1000, maxDelay: 3000, backoffMultiplier: 2 },
    });
    webSocket.up = false;
    http.up = false;
    const begun = clock.now();
    const connected = watch(client.connect());
    const waiting = watch(client.readResource('test://a', { timeout: 600_000 }));
    await settle();
    for (let last = 0; clock.now() - begun < 20_000; ) {
      if (webSocket.attempts !== last) {
        last = webSocket.attempts;
        times.push(clock.now() - begun);
      }
      await clock.advance(100);
    }
    expect(times).toEqual([0, 500, 1500, 3000, 4500]);
    expect(connected.error).toMatchObject({ code: 'unavailable' });
    expect(waiting.error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('Cannot connect') });
    expect(client.getConnectionStatus()).toMatchObject({ state: 'disconnected', transport: null, reconnectAttempts: 5 });
    await expect(client.listTools()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('starts anew on reconnect()', async () => {
    const { client, webSocket, http } = start({ reconnectOptions: { maxAttempts: 0 } });
    webSocket.up = false;
    http.up = false;
    await expect(client.connect()).rejects.toMatchObject({ code: 'unavailable' });
    webSocket.up = true;
    await client.reconnect();
    expect(client.getConnectionStatus()).toMatchObject({ state: 'connected', transport: 'websocket', reconnectAttempts: 0 });
    expect((await client.listTools()).tools).toHaveLength(3);
    await client.reconnect();
    expect(client.getMetrics().reconnects).toBe(1);
    expect(webSocket.open).toBe(1);
  });

  it('does not reconnect when told not to', async () => {
    const { client, service, webSocket } = start({ enableReconnection: false });
    await client.connect();
    service.hold.add('resources/read');
    const read = watch(client.readResource('test://a'));
    await settle();
    await webSocket.cut();
    expect(read.error).toMatchObject({ code: 'unavailable', data: { sent: true } });
    expect(client.getConnectionStatus().state).toBe('disconnected');
    expect(webSocket.attempts).toBe(1);
  });

  it('answers requests made before the server is up', async () => {
    const { client, clock, webSocket, http } = start();
    webSocket.up = false;
    http.up = false;
    const tools = watch(client.listTools());
    await clock.advance(3000);
    expect(tools.settled).toBe(false);
    http.up = true;
    await clock.advance(10_000);
    expect(tools.value?.tools).toHaveLength(3);
  });

  it('gives a transport that hangs its time, then uses the next', async () => {
    const { http } = start();
    const hanging = { kind: 'hanging', open: () => new Promise<never>(() => {}) };
    const { client, clock } = start({
      connectTimeout: 4000,
      connectors: (environment) => [hanging, http.connector('http', environment)],
    });
    const connected = watch(client.connect());
    await clock.advance(3999);
    expect(connected.settled).toBe(false);
    await clock.advance(1);
    expect(client.getConnectionStatus().transport).toBe('http');
  });
});

describe('credentials', () => {
  const refuse = (good: string) => (token: string | undefined) => {
    if (token !== good) throw new RpcError('unauthenticated', 'bad token');
  };

  it('fails at once on a refused token, without trying again', async () => {
    const { client, clock, webSocket, http } = start({ credentials: { token: 'old' } });
    webSocket.accept = refuse('new');
    const read = watch(client.readResource('test://a'));
    await settle();
    expect(read.error).toMatchObject({ code: 'unauthenticated' });
    await clock.advance(100_000);
    expect(webSocket.attempts).toBe(1);
    expect(http.attempts).toBe(0);
    expect(client.getConnectionStatus().state).toBe('disconnected');
  });

  it('asks for another token once, then fails', async () => {
    const token = vi.fn(async () => 'bad');
    const { client, webSocket } = start({ credentials: { token } });
    webSocket.accept = refuse('good');
    await expect(client.connect()).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(token).toHaveBeenCalledTimes(2);
  });

  it('renews a token once for many requests that were refused, and answers them all', async () => {
    let issued = 0;
    const token = vi.fn(async () => `token-${++issued}`);
    const { client, service, webSocket } = start({ credentials: { token } });
    await client.connect();
    service.hold.add('pay');
    const calls = [1, 2, 3, 4].map((n) => watch(client.callTool('pay', { n })));
    await settle();
    // The token expires: the server refuses what it holds and whatever comes over this connection.
    service.expireHeld();
    await settle();
    expect(calls.map(({ value, error }) => value !== undefined || error)).toEqual([true, true, true, true]);
    expect(token).toHaveBeenCalledTimes(2);
    expect(webSocket.tokens).toEqual(['token-1', 'token-2']);
  });

  it('renews once for a request that is refused every time', async () => {
    const token = vi.fn(async () => 'any');
    const { client, service } = start({ credentials: { token } });
    await client.connect();
    const refuse = new RpcError('unauthenticated', 'Never');
    Object.assign(service, { handler: () => Promise.reject(refuse) });
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'unauthenticated', message: 'Never' });
    expect(token).toHaveBeenCalledTimes(2);
    expect(client.getConnectionStatus().state).toBe('connected');
  });

  it('reports a failing token function as unauthenticated, its message kept out', async () => {
    const { client } = start({ credentials: { token: () => Promise.reject(new Error('secret')) } });
    await expect(client.connect()).rejects.toMatchObject({ code: 'unauthenticated', message: expect.not.stringContaining('secret') });
  });
});

describe('closing', () => {
  it('cancels what waits, tells of what runs that its outcome is unknown, and stays closed', async () => {
    const { client, service, webSocket } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    service.hold.add('pay');
    const running = watch(client.callTool('pay'));
    const queued = watch(client.callTool('pay'));
    await settle();
    await client.close();
    await client.close();
    await settle();
    expect(running.error).toMatchObject({ code: 'ambiguous_outcome', reason: 'closed', idempotencyKey: 'key-1' });
    expect(queued.error).toMatchObject({ code: 'cancelled' });
    expect(client.getConnectionStatus()).toMatchObject({ state: 'closed', transport: null });
    await expect(client.listTools()).rejects.toMatchObject({ code: 'cancelled' });
    await expect(client.connect()).rejects.toMatchObject({ code: 'cancelled' });
    await expect(client.reconnect()).rejects.toMatchObject({ code: 'cancelled' });
    expect(webSocket.open).toBe(0);
  });

  it('says which of the requests that may be repeated had been sent', async () => {
    const { client, service } = start({ maxConcurrentRequests: 1 });
    await client.connect();
    service.hold.add('resources/read');
    const reads = ['test://a', 'test://b'].map((uri) => watch(client.readResource(uri)));
    await settle();
    await client.close();
    await settle();
    expect(reads.map(({ error }) => [error?.code, error?.data?.sent])).toEqual([
      ['cancelled', true],
      ['cancelled', undefined],
    ]);
  });

  it('ends an attempt to connect', async () => {
    const { client, webSocket, http } = start();
    webSocket.up = false;
    http.up = false;
    const connected = watch(client.connect());
    await settle();
    await client.close();
    await settle();
    expect(connected.error).toMatchObject({ code: 'cancelled' });
  });

  it('leaves no connection, in whichever moment of connecting it comes', async () => {
    for (let moment = 0; moment < 60; moment += 1) {
      const { client, webSocket } = start();
      const connected = watch(client.connect());
      for (let turn = 0; turn < moment; turn += 1) await Promise.resolve();
      await client.close();
      await settle();
      expect(webSocket.open, `after ${moment} turns`).toBe(0);
      expect(connected.settled).toBe(true);
    }
  });

  it('is what `await using` does', async () => {
    const made = start();
    {
      await using client = made.client;
      await client.connect();
    }
    expect(made.client.getConnectionStatus().state).toBe('closed');
  });
});
