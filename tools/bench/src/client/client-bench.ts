import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
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
A full run writes docs/benchmarks-client.md.

  --quick   short rounds, to see that everything runs: figures of no worth`;

const SERVER = fileURLToPath(new URL('../servers/client-target.ts', import.meta.url));
const FOLDER = fileURLToPath(new URL('../..', import.meta.url));

const PAGE = fileURLToPath(new URL('../../../../docs/benchmarks-client.md', import.meta.url));

const FULL = { rounds: 11, callsPerRound: 1000, cacheHitsPerRound: 20_000, sizes: [1000, 10_000, 100_000] };
const QUICK = { rounds: 1, callsPerRound: 20, cacheHitsPerRound: 200, sizes: [100, 1000] };

/** What was measured. */
export interface ClientFigures {
  readonly calls: readonly CallRow[];
  readonly cache: readonly CacheRow[];
  readonly queue: readonly QueueRow[];
}

/** `npm run bench -- client`. A full run writes docs/benchmarks-client.md. */
export async function benchClient(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const loadBefore = loadavg()[0] as number;
  const progress = progressOn(process.stderr);
  const figures = await measureClient(values.quick ? QUICK : FULL, progress.step);
  progress.end();
  const tables = clientTables(figures);
  console.log(tables);
  if (!values.quick) {
    writeFileSync(PAGE, page(tables, clientHeadline(figures), loadBefore));
    console.log(`\nWritten: ${PAGE}`);
  }
  console.log(`\n${clientHeadline(figures)}`);
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

/** The last line printed. */
export function clientHeadline({ calls, cache, queue }: ClientFigures): string {
  const most = queue.at(-1) as QueueRow;
  return [
    `bench: a call costs ${calls.map(({ way, ratio }) => `${percent(ratio)} more over ${way}`).join(' and ')} than with the bare SDK client`,
    `an answer from the cache ${cache.map(({ what, micros }) => `${micros.toFixed(1)} µs (${what})`).join(', ')}`,
    `with ${most.waiting} waiting: insert ${most.insertMicros.toFixed(1)}, cancel ${most.cancelMicros.toFixed(1)}, pop ${most.popMicros.toFixed(1)} µs`,
  ].join('; ');
}

function page(tables: string, headline: string, load: number): string {
  return `# Client benchmarks

Written by \`npm run bench -- client\` on ${new Date().toISOString().slice(0, 10)}. Absolute figures belong to the machine; the overhead, taken
within one round, is what may be compared.

${headline}

${tables}

## How it is measured

- Machine: ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, load average before the run ${load.toFixed(1)};
  Node.js ${process.versions.node}; ${findPinning().description}.
- A call is \`tools/call\` of an echo tool, one after the other, of a \`SecureMCPServer\` in a process of its own. Bare client and
  ours take turns of ${FULL.callsPerRound / 10} calls; ${FULL.rounds} rounds of ${FULL.callsPerRound}; every answer is looked at. The processor's time is that of the client's process.
- An answer from the cache is a deep copy; the time is the processor's.
- The queue is that of a client without a connection, ten levels and a hundred fairness keys; a request's promises and timer are part of
  what is timed, and of a pop the answer.
`;
}

const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`;

export function clientTables({ calls, cache, queue }: ClientFigures): string {
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
