import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Clock, systemClock } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { afterEach, expect, it, vi } from 'vitest';
import { sdkConnector } from '../src/index.js';
import { connectTo, startServer } from './real-server.js';
import { bench, settle, TestService, watch } from './support.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The sockets of this process; both ends are in it. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => /^(TCPSocketWrap|TLSWrap|TCPConnectWrap)$/.test(kind)).length;
}

/** The machine's clock, counting the timers that wait. */
function countingClock(): Clock & { readonly pending: number } {
  const waiting = new Set<object>();
  return {
    get pending() {
      return waiting.size;
    },
    now: () => systemClock.now(),
    setTimeout(callback, delayMs) {
      const timer = {};
      waiting.add(timer);
      const cancel = systemClock.setTimeout(() => {
        waiting.delete(timer);
        callback();
      }, delayMs);
      return () => {
        waiting.delete(timer);
        cancel();
      };
    },
  };
}

async function start() {
  // Those of tests before this one are on their way out.
  await vi.waitFor(() => expect(sockets()).toBe(0), 5000);
  const running = await startServer(new TestService());
  cleanups.push(running.stop);
  const clock = countingClock();
  const connect = (config: object) =>
    connectTo({ http: running.httpDoor.port, webSocket: running.webSocketDoor.port }, { clock, ...config });
  return { ...running, clock, connect };
}

it.each([
  ['over a WebSocket', { enableWebSocket: true }],
  ['over HTTP', { enableWebSocket: false }],
])('a closed client leaves no socket, no timer and no listener: %s', async (_name, config) => {
  const { clock, connect, httpDoor, webSocketDoor } = await start();
  const signal = new AbortController().signal;
  const listening = vi.spyOn(signal, 'addEventListener');
  const stopped = vi.spyOn(signal, 'removeEventListener');
  for (let round = 0; round < 3; round += 1) {
    const client = connect({ ...config, healthCheckInterval: 50 });
    await client.listTools({ signal });
    await client.callTool('look', {}, { signal });
    expect(sockets()).toBeGreaterThan(0);
    webSocketDoor.cut();
    httpDoor.cut();
    await client.listTools({ useCache: false, signal });
    await client.close();
    // A connection that was being opened ends with its socket, a moment later.
    await vi.waitFor(() => expect(clock.pending).toBe(0));
  }
  expect(listening).toHaveBeenCalled();
  expect(stopped.mock.calls.length).toBeGreaterThanOrEqual(listening.mock.calls.length);
  await vi.waitFor(() => {
    // Those that `fetch` keeps for its next request, or is still opening for one that was aborted, are not the client's.
    httpDoor.cut();
    expect(sockets()).toBe(0);
  }, 5000);
});

it('a client closed while it is trying to connect leaves nothing either', async () => {
  const { clock, connect, httpDoor, webSocketDoor } = await start();
  await Promise.all([webSocketDoor.shut(), httpDoor.shut()]);
  const client = connect({});
  const call = watch(client.callTool('pay'));
  await vi.waitFor(() => expect(client.getConnectionStatus().reconnectAttempts).toBeGreaterThan(0));
  await client.close();
  await vi.waitFor(() => expect(call.error?.code).toBe('cancelled'));
  expect(clock.pending).toBe(0);
  await vi.waitFor(() => expect(sockets()).toBe(0), 5000);
});

it('memory does not grow per reconnect: of a hundred connections lost, none is kept', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const service = new TestService();
  const made: WeakRef<object>[] = [];
  let end: InMemoryTransport | undefined;
  const { client, clock } = bench({
    connectors: ({ protocol }) => [
      sdkConnector('memory', protocol, () => {
        const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
        made.push(new WeakRef(clientEnd));
        serveChannel(service, serverEnd, { principal: testPrincipal(), transport: 'memory' });
        end = serverEnd;
        return clientEnd;
      }),
    ],
  });
  await client.subscribe('test://a', () => {});
  for (let round = 0; round < 100; round += 1) {
    await client.callTool('look');
    await clock.advance(60_000);
    await end?.close();
    await settle();
  }
  await client.callTool('look');
  expect(made.length).toBe(101);
  await vi.waitFor(async () => {
    await settle();
    collect();
    expect(made.filter((each) => each.deref() !== undefined).length).toBeLessThanOrEqual(2);
  }, 20_000);
  expect(clock.pendingTimers).toBeLessThanOrEqual(2);
  await client.close();
  await settle();
});
