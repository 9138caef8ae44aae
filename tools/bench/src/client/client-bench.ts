import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findPinning } from '../pinning.ts';
import { progressOn } from '../progress.ts';
import { ServerProcess } from '../server-process.ts';
import { type CacheRow, type CallCounts, type CallRow, measureCacheHits, measureCalls } from './calls.ts';
import { measureQueue, type QueueRow } from './queue.ts';

const USAGE = `Usage: npm run bench -- client [--quick]

Measures MCPClientPattern: a call over HTTP and over WebSocket beside the bare SDK client on the same server, by
turns; an answer from the cache; the queue with 1,000, 10,000 and 100,000 requests waiting. Medians of the rounds.

  --quick   short rounds, to see that everything runs: figures of no worth`;

const SERVER = fileURLToPath(new URL('../servers/client-target.ts', import.meta.url));
const FOLDER = fileURLToPath(new URL('../..', import.meta.url));

const FULL = { rounds: 11, callsPerRound: 1000, cacheHitsPerRound: 20_000, sizes: [1000, 10_000, 100_000] };
const QUICK = { rounds: 1, callsPerRound: 20, cacheHitsPerRound: 200, sizes: [100, 1000] };

/** What was measured. */
export interface ClientFigures {
  readonly calls: readonly CallRow[];
  readonly cache: readonly CacheRow[];
  readonly queue: readonly QueueRow[];
}

export async function benchClient(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const progress = progressOn(process.stderr);
  const figures = await measureClient(values.quick ? QUICK : FULL, progress.step);
  progress.end();
  console.log(clientTables(figures));
}

/** Measures everything, the server in a process of its own. */
export async function measureClient(
  counts: CallCounts & { readonly sizes: readonly number[] },
  step: (text: string) => void,
): Promise<ClientFigures> {
  const server = await ServerProcess.start({ file: SERVER, cwd: FOLDER }, 'stateless', findPinning().server);
  try {
    const { port } = server.announcement;
    const calls = await measureCalls(port, counts, step);
    const cache = await measureCacheHits(port, counts);
    return { calls, cache, queue: await measureQueue(counts.sizes, counts.rounds, step) };
  } finally {
    await server.stop(() => undefined);
  }
}

export function clientTables({ calls, cache, queue }: ClientFigures): string {
  const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`;
  const small = queue[0];
  const growth = (of: (row: QueueRow) => number) => (row: QueueRow) => (of(row) / of(small as QueueRow)).toFixed(2);
  const [insert, cancel, pop] = [
    growth(({ insertMicros }) => insertMicros),
    growth(({ cancelMicros }) => cancelMicros),
    growth(({ popMicros }) => popMicros),
  ];
  return [
    '| one call | bare SDK client, µs | MCPClientPattern, µs | overhead | slowest–fastest round | processor, µs | of the bare one |',
    '|---|--:|--:|--:|--:|--:|--:|',
    ...calls.map(
      (row) =>
        `| ${row.way} | ${row.bareMicros.toFixed(0)} | ${row.oursMicros.toFixed(0)} | ${percent(row.ratio)} | ${percent(row.ratioMax)}–${percent(row.ratioMin)} | ${row.oursCpuMicros.toFixed(0)} | ${row.bareCpuMicros.toFixed(0)} |`,
    ),
    '',
    '| answer from the cache | µs |',
    '|---|--:|',
    ...cache.map(({ what, micros }) => `| ${what} | ${micros.toFixed(2)} |`),
    '',
    `| requests waiting | insert, µs | cancel, µs | pop, µs | times those with ${small?.waiting} |`,
    '|--:|--:|--:|--:|---|',
    ...queue.map(
      (row) =>
        `| ${row.waiting} | ${row.insertMicros.toFixed(2)} | ${row.cancelMicros.toFixed(2)} | ${row.popMicros.toFixed(2)} | ${insert(row)}, ${cancel(row)}, ${pop(row)} |`,
    ),
  ].join('\n');
}
