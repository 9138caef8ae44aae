/** The client whose memory `prove:client` measures, in a process of its own: its connection is cut again and again. */
import { setImmediate } from 'node:timers/promises';
import { type MCPClientConfig, MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import type { HeapOrder, HeapReport, HeapRequest } from './client-heap.ts';

/** Of the run, before the heap is looked at; and how often it is after that. */
const WARM_UP = 0.3;
const MAX_SAMPLES = 60;
const MIN_RECONNECTS_PER_SAMPLE = 5;

const order = JSON.parse(process.argv[2] as string) as HeapOrder;
const kept: unknown[] = [];

function configurationOf({ leak }: HeapOrder): Partial<MCPClientConfig> {
  if (leak === undefined) return {};
  return {
    configureClient(client) {
      setInterval(() => {}, 2 ** 31 - 1);
      kept.push([client, Array.from({ length: leak.ballast }, Math.random)]);
    },
  };
}

function ask(request: HeapRequest): Promise<void> {
  return new Promise((resolve) => {
    process.once('message', () => resolve());
    process.send?.(request);
  });
}

async function heapBytes(): Promise<number> {
  for (let pass = 0; pass < 2; pass += 1) {
    globalThis.gc?.();
    await setImmediate();
  }
  return process.memoryUsage().heapUsed;
}

async function measure(): Promise<HeapReport> {
  // The channel to the parent is a resource as well.
  await ask('cut HTTP');
  const before = process.getActiveResourcesInfo();
  const client = new MCPClientPattern({
    serverUrl: `http://127.0.0.1:${order.http}/mcp`,
    webSocketUrl: `ws://127.0.0.1:${order.websocket}/ws`,
    versionNegotiation: order.era,
    reconnectOptions: { initialDelay: 1, maxDelay: 20, maxAttempts: Number.POSITIVE_INFINITY },
    ...configurationOf(order),
  });
  const reconnected = (count: number) =>
    new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no connection for ${order.patienceMs} ms`)), order.patienceMs);
      const look = () => {
        if (client.getMetrics().reconnects < count || client.getConnectionStatus().state !== 'connected') return;
        stop();
        clearTimeout(late);
        resolve();
      };
      const stop = client.on('statusChange', look);
      look();
    });
  await client.listTools();
  const points: (readonly [reconnects: number, bytes: number])[] = [];
  const every = Math.max(MIN_RECONNECTS_PER_SAMPLE, Math.floor((order.reconnects * (1 - WARM_UP)) / MAX_SAMPLES));
  let sampleAt = Math.floor(order.reconnects * WARM_UP);
  for (let reconnects = 0; reconnects < order.reconnects; reconnects = client.getMetrics().reconnects) {
    // By way of HTTP now and then.
    const fallsBack = reconnects % 10 === 9;
    await ask(fallsBack ? 'shut the WebSocket' : 'cut the WebSocket');
    await reconnected(reconnects + 1);
    if (fallsBack) {
      await client.callTool('read', { id: reconnects });
      await ask('open the WebSocket');
      await reconnected(reconnects + 2);
    }
    await client.callTool('read', { id: reconnects });
    if (reconnects < sampleAt) continue;
    points.push([reconnects, await heapBytes()]);
    sampleAt += every;
  }
  const { reconnects, fallbacks } = client.getMetrics();
  await client.close();
  // What fetch keeps for its next request is not the client's.
  await ask('cut HTTP');
  let leaked = beyond(before, process.getActiveResourcesInfo());
  for (let waits = 0; leaked.length > 0 && order.leak === undefined && waits < order.patienceMs / 50; waits += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    leaked = beyond(before, process.getActiveResourcesInfo());
  }
  return { points, leaked, reconnects, fallbacks };
}

/** What is there and was not before. */
function beyond(before: readonly string[], after: readonly string[]): string[] {
  const left = [...before];
  return after.filter((name) => {
    const index = left.indexOf(name);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
}

process.once('disconnect', () => process.exit());
process.send?.(await measure());
