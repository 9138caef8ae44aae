import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { median } from '../statistics.ts';

/** How many calls of each client make a round. */
export interface CallCounts {
  readonly rounds: number;
  readonly callsPerRound: number;
  readonly cacheHitsPerRound: number;
}

/** Microseconds of one call. */
interface CallTime {
  readonly wall: number;
  /** Of the processor, in the client's process; the server has one of its own. */
  readonly cpu: number;
}

/** What one call costs, and what it costs over the bare SDK client. Medians of the rounds, in microseconds. */
export interface CallRow {
  readonly way: string;
  readonly bareMicros: number;
  readonly oursMicros: number;
  readonly bareCpuMicros: number;
  readonly oursCpuMicros: number;
  /** Of our time to the bare client's in the same round: median, smallest and largest. */
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
}

/** What an answer from the cache costs. */
export interface CacheRow {
  readonly what: string;
  readonly micros: number;
}

interface Caller {
  call(text: string): Promise<{ readonly content?: unknown }>;
  close(): Promise<void>;
}

/** Calls the same tool of the same server one after the other, by turns through the bare SDK client and through ours. */
export async function measureCalls(port: number, counts: CallCounts, step: (text: string) => void): Promise<readonly CallRow[]> {
  const rows: CallRow[] = [];
  for (const way of ['HTTP', 'WebSocket'] as const) {
    const callers: [Caller, Caller] = [await bareClient(way, port), await ourClient(way, port)];
    try {
      // Both clients learn the tools first: the SDK checks a tool's results once it knows what they look like.
      for (const caller of callers) await timeCalls(caller, counts.callsPerRound);
      const times: [bare: CallTime, ours: CallTime][] = [];
      for (let round = 0; round < counts.rounds; round += 1) {
        step(`${way}, round ${round + 1} of ${counts.rounds}`);
        times.push(await timeByTurns(callers, counts.callsPerRound));
      }
      const ratios = times.map(([bare, ours]) => ours.wall / bare.wall);
      rows.push({
        way,
        bareMicros: median(times.map(([bare]) => bare.wall)),
        oursMicros: median(times.map(([, ours]) => ours.wall)),
        bareCpuMicros: median(times.map(([bare]) => bare.cpu)),
        oursCpuMicros: median(times.map(([, ours]) => ours.cpu)),
        ratio: median(ratios),
        ratioMin: Math.min(...ratios),
        ratioMax: Math.max(...ratios),
      });
    } finally {
      for (const caller of callers) await caller.close();
    }
  }
  return rows;
}

/** Asks again for what the client has in its cache. */
export async function measureCacheHits(port: number, counts: CallCounts): Promise<readonly CacheRow[]> {
  const client = new MCPClientPattern({ serverUrl: `http://127.0.0.1:${port}`, enableWebSocket: false });
  try {
    const list = () => client.listTools({ ttl: 3_600_000 });
    const text = () => client.callTool('echo', { text: 'hello' }, { useCache: true, ttl: 3_600_000 });
    await list();
    await text();
    const rows: CacheRow[] = [];
    for (const [what, ask] of [
      ['tools/call, one line of text', text],
      ['tools/list, ten tools', list],
    ] as const) {
      const times: number[] = [];
      for (let round = 0; round <= counts.rounds; round += 1) {
        // Time of the processor, so that what else the machine does counts little.
        const startedAt = process.cpuUsage();
        for (let n = 0; n < counts.cacheHitsPerRound; n += 1) await ask();
        const { user, system } = process.cpuUsage(startedAt);
        // The first round is to warm up.
        if (round > 0) times.push((user + system) / counts.cacheHitsPerRound);
      }
      rows.push({ what, micros: median(times) });
    }
    const { hits } = client.getCacheStats();
    if (hits !== 2 * (counts.rounds + 1) * counts.cacheHitsPerRound) throw new Error(`only ${hits} answers came from the cache`);
    return rows;
  } finally {
    await client.close();
  }
}

const TURNS = 10;

/** Many short turns, so that both meet the same weather; who goes first changes with them. */
async function timeByTurns([bare, ours]: readonly [Caller, Caller], calls: number): Promise<[CallTime, CallTime]> {
  const times: [CallTime[], CallTime[]] = [[], []];
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const index of turn % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      times[index].push(await timeCalls(index === 0 ? bare : ours, Math.ceil(calls / TURNS)));
    }
  }
  const mean = (of: readonly CallTime[], key: keyof CallTime) => of.reduce((sum, time) => sum + time[key], 0) / TURNS;
  const [bareTimes, ourTimes] = times;
  return [
    { wall: mean(bareTimes, 'wall'), cpu: mean(bareTimes, 'cpu') },
    { wall: mean(ourTimes, 'wall'), cpu: mean(ourTimes, 'cpu') },
  ];
}

async function timeCalls(caller: Caller, calls: number): Promise<CallTime> {
  const startedAt = performance.now();
  const cpuAt = process.cpuUsage();
  for (let n = 0; n < calls; n += 1) {
    const text = `text ${n}`;
    const { content } = await caller.call(text);
    if ((content as [{ text?: unknown }] | undefined)?.[0].text !== text) throw new Error('a call was answered with something else');
  }
  const { user, system } = process.cpuUsage(cpuAt);
  return { wall: ((performance.now() - startedAt) * 1000) / calls, cpu: (user + system) / calls };
}

async function bareClient(way: 'HTTP' | 'WebSocket', port: number): Promise<Caller> {
  const transport: Transport =
    way === 'HTTP'
      ? new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`))
      : new WebSocketClientTransport(new URL(`ws://127.0.0.1:${port}/ws`));
  const client = new Client({ name: 'bench', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(transport);
  await client.listTools();
  return { call: (text) => client.callTool({ name: 'echo', arguments: { text } }), close: () => client.close() };
}

async function ourClient(way: 'HTTP' | 'WebSocket', port: number): Promise<Caller> {
  const client = new MCPClientPattern({
    serverUrl: `http://127.0.0.1:${port}`,
    enableWebSocket: way === 'WebSocket',
    enableHttpFallback: way === 'HTTP',
  });
  await client.listTools();
  return { call: (text) => client.callTool('echo', { text }), close: () => client.close() };
}
