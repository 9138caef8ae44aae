import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { numberOption } from '../options.ts';
import { findPinning } from '../pinning.ts';
import { progressOn } from '../progress.ts';
import { measureIdleRows } from './idle-rows.ts';
import { measureMemory } from './memory-rows.ts';
import { measurePaced } from './paced-rows.ts';
import type { Bench, Section, SecuredCounts } from './section.ts';
import { measureTools } from './tools-rows.ts';
import { measureWebSocketCalls } from './websocket-rows.ts';
import { measureWorkers } from './worker-rows.ts';

/** The measurements by name, in the order of a run. */
const MEASUREMENTS: Readonly<Record<string, (bench: Bench) => Promise<Section>>> = {
  tools: measureTools,
  half: measurePaced,
  websocket: measureWebSocketCalls,
  workers: measureWorkers,
  memory: measureMemory,
  idle: measureIdleRows,
};
const NAMES = Object.keys(MEASUREMENTS);

const USAGE = `Usage: npm run bench -- secured [options]

Measures what the fully secured server keeps of its speed: with 1,000 tools, its latency at half load, over one WebSocket
connection, on two workers; its memory over many requests, and what an idle session and an idle WebSocket take.

  --rounds N    rounds, interleaved; the tables have their medians (default 3)
  --seconds N   measured seconds per row and round (default 2.5)
  --warm-up N   seconds of load before those (default 1.5)
  --n N         requests over which memory is watched (default 1000000)
  --idle N      idle sessions and connections (default 500)
  --only a,b    only these (${NAMES.join(', ')}); nothing is written then
  --quick       one short round, to see that everything runs: figures of no worth`;

const PAGE = fileURLToPath(new URL('../../../../docs/benchmarks-secured.md', import.meta.url));

/** `npm run bench -- secured`. A full run writes docs/benchmarks-secured.md. Resolves with the exit code. */
export async function benchSecured(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      n: { type: 'string' },
      idle: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { quick } = values;
  const counts: SecuredCounts = {
    rounds: numberOption('--rounds', values.rounds, quick ? 1 : 3, { min: 1, whole: true }),
    seconds: numberOption('--seconds', values.seconds, quick ? 0.3 : 2.5, { min: 0.1 }),
    warmUpSeconds: numberOption('--warm-up', values['warm-up'], quick ? 0.2 : 1.5, { min: 0 }),
    n: numberOption('--n', values.n, quick ? 1000 : 1_000_000, { min: 10, whole: true }),
    idle: numberOption('--idle', values.idle, quick ? 20 : 500, { min: 1, whole: true }),
  };
  const names = values.only?.split(',') ?? NAMES;
  const unknown = names.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) throw new Error(`--only: there is no '${unknown}'; known are ${NAMES.join(', ')}`);
  const loadBefore = loadavg()[0] as number;
  const progress = progressOn(process.stderr);
  const { sections, problems } = await measureSecured(counts, names, progress.step);
  progress.end();
  const headline = `bench: ${[...sections.map(({ figure }) => figure), ...problems].join('; ')}`;
  const tables = sections.map(({ title, table, note }) => `## ${title}\n\n${table}\n\n${note}`).join('\n\n');
  console.log(tables);
  if (!quick && values.only === undefined) {
    writeFileSync(PAGE, page(headline, tables, counts, loadBefore, args));
    console.log(`\nWritten: ${PAGE}`);
  }
  console.log(`\n${headline}`);
  return problems.length === 0 ? 0 : 1;
}

/** Carries out the measurements of these names; one that fails does not keep the others from being made. */
export async function measureSecured(
  counts: SecuredCounts,
  names: readonly string[],
  step: (text: string) => void,
  pinning = findPinning(),
): Promise<{ readonly sections: readonly Section[]; readonly problems: readonly string[] }> {
  const sections: Section[] = [];
  const problems: string[] = [];
  for (const name of names) {
    try {
      sections.push(await (MEASUREMENTS[name] as (bench: Bench) => Promise<Section>)({ counts, pinning, step }));
    } catch (error) {
      problems.push(`${name} could not be measured: ${(error as Error).message}`);
    }
  }
  return { sections, problems };
}

function page(
  headline: string,
  tables: string,
  { rounds, seconds, warmUpSeconds }: SecuredCounts,
  loadBefore: number,
  args: readonly string[],
): string {
  return `# What the secured server keeps

Written by \`${['npm run bench -- secured', ...args].join(' ')}\` on ${new Date().toISOString().slice(0, 10)}. Absolute figures belong to
the machine; the ratios, taken within one round, are what may be compared.

${headline}

Machine: ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, load average before the run ${loadBefore.toFixed(1)}; Node.js
${process.versions.node}; ${findPinning().description}, where nothing else is said. The server is that of [the benchmarks](benchmarks.md): a
JWT per request, a role per tool, two limits, every call in a hash-chained audit file. ${rounds} ${rounds === 1 ? 'round' : 'rounds'} of ${seconds} s per row after
${warmUpSeconds} s of warm-up, each with fresh processes; every answer is checked.

${tables}
`;
}
