import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findPinning } from '../pinning.ts';
import { progressOn } from '../progress.ts';
import { type KindRow, measureRounds } from './echo-rounds.ts';
import type { Order } from './generator.ts';
import { type IdleRow, measureIdle } from './idle-memory.ts';
import { websocketHeadline, websocketTables } from './tables.ts';

const USAGE = `Usage: npm run bench -- websocket [options]

Measures WebSocket connections beside plain ws, each as a server and a client process, by turns: messages echoed of 64 B,
1 KiB, 64 KiB and 1 MiB, many under way and one at a time; handshakes; the memory of an idle connection.

  --rounds N        rounds, interleaved; the tables have their medians (default 5)
  --seconds N       measured seconds per size, kind and round (default 1)
  --connections N   idle connections; 0 leaves them out (default 10000)
  --quick           one short round and 200 connections, to see that everything runs: figures of no worth`;

const PAGE = fileURLToPath(new URL('../../../../docs/benchmarks-websocket.md', import.meta.url));

/** Sizes of messages, and how many are under way at a time. */
export const SIZES = [
  { name: '64 B', bytes: 64, window: 64 },
  { name: '1 KiB', bytes: 1024, window: 64 },
  { name: '64 KiB', bytes: 65_536, window: 16 },
  { name: '1 MiB', bytes: 1_048_576, window: 4 },
] as const;

const HANDSHAKES_AT_A_TIME = 8;

/** How long and how often. */
export interface WebSocketCounts {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
}

/** What was measured. */
export interface WebSocketFigures {
  readonly rows: readonly KindRow[];
  readonly idle: readonly IdleRow[];
}

/** `npm run bench -- websocket`. A full run writes docs/benchmarks-websocket.md. */
export async function benchWebSocket(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const { quick } = values;
  const counts = {
    rounds: numberOf('--rounds', values.rounds, quick ? 1 : 5, 1),
    seconds: numberOf('--seconds', values.seconds, quick ? 0.2 : 1, 0.01),
    connections: numberOf('--connections', values.connections, quick ? 200 : 10_000, 0),
  };
  if (!Number.isInteger(counts.rounds) || !Number.isInteger(counts.connections))
    throw new Error('rounds and connections are whole numbers');
  const loadBefore = loadavg()[0] as number;
  const progress = progressOn(process.stderr);
  const figures = await measureWebSocket(counts, progress.step);
  progress.end();
  const tables = websocketTables(figures);
  console.log(tables);
  if (!quick && values.connections === undefined) {
    writeFileSync(PAGE, page(tables, websocketHeadline(figures), counts, loadBefore, args));
    console.log(`\nWritten: ${PAGE}`);
  }
  console.log(`\n${websocketHeadline(figures)}`);
}

/** Measures everything. */
export async function measureWebSocket(
  { rounds, seconds, connections }: WebSocketCounts,
  step: (text: string) => void,
): Promise<WebSocketFigures> {
  const pinning = findPinning();
  const rows = await measureRounds(ordersOf(seconds), rounds, pinning, step);
  return { rows, idle: connections === 0 ? [] : await measureIdle(connections, pinning, step) };
}

function ordersOf(seconds: number): Map<string, Order> {
  const durationMs = seconds * 1000;
  const orders = new Map<string, Order>();
  for (const { name, bytes, window } of SIZES) {
    orders.set(name, { do: 'echo', bytes, window, warmUpMs: durationMs / 2, durationMs });
    orders.set(`${name}, one at a time`, { do: 'echo', bytes, window: 1, warmUpMs: durationMs / 4, durationMs: durationMs / 2 });
  }
  orders.set('handshakes', { do: 'handshakes', atATime: HANDSHAKES_AT_A_TIME, durationMs });
  orders.set('handshakes, one at a time', { do: 'handshakes', atATime: 1, durationMs: durationMs / 2 });
  return orders;
}

function page(
  tables: string,
  headline: string,
  { rounds, seconds, connections }: WebSocketCounts,
  load: number,
  args: readonly string[],
): string {
  return `# WebSocket benchmarks

Written by \`${['npm run bench -- websocket', ...args].join(' ')}\` on ${new Date().toISOString().slice(0, 10)}. Absolute figures belong to
the machine; the ratios, taken within one round, are what may be compared.

${headline}

${tables}

## How it is measured

- Machine: ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, load average before the run ${load.toFixed(1)};
  Node.js ${process.versions.node}; ${findPinning().description}.
- Each kind has a server process and a client process of its own, one connection between them, made anew for every round. The
  kinds take turns at each size, ${seconds} s each; ${rounds} ${rounds === 1 ? 'round' : 'rounds'}; the tables have the medians, and the medians of the rounds'
  ratios to plain \`ws\`.
- A message is a JSON-RPC request whose parameter is a text of ASCII letters. **Plain \`ws\`** sends back the bytes it got, never
  decoded; its client sends bytes made beforehand and looks at the length and the seven digits of the id.
  **Ours** goes through the SDK's \`Transport\` interface at both ends (\`send\` and \`onmessage\`): both ends stringify, parse and check
  every message, which plain \`ws\` is spared. The server's guard, authentication, heartbeat and limits are on, its MCP service is not.
- Under way at a time: ${SIZES.map(({ name, window }) => `${window} of ${name}`).join(', ')}. Every message that comes back is looked at:
  the next in order, in its full length; one that is not ends the run.
- A handshake is over when the connection can be used: TCP, TLS, upgrade, Noise with hello and welcome. Neither TLS nor Noise
  resumes anything. Connections are opened ${HANDSHAKES_AT_A_TIME} at a time, and one at a time for the median.
- Memory: ${connections} connections from client processes, each used once (\`initialize\` of MCP; an echo with plain \`ws\`), then silent;
  growth of the server process after full collections, divided by their number. Ours is a whole \`SecureMCPServer\` with ten tools.
`;
}

function numberOf(name: string, text: string | undefined, otherwise: number, min: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min)
    throw new Error(`${name}: '${text}' is not a number of at least ${min}`);
  return value;
}
