import { WAY_TITLE, type Way } from './echo-request.ts';
import type { BenchOptions } from './options.ts';
import type { Outcome, Row, SessionRow } from './outcome.ts';

/** Where and how a run was made, for whoever reads its figures. */
export interface RunDescription {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly system: string;
  readonly date: string;
  readonly command: string;
  readonly pinning: string;
}

/** The tables, in Markdown. */
export function tables(outcome: Outcome): string {
  const throughput = [
    '| server | revision | req/s | slowest–fastest round | of node:http | of SDK v2 | p50 ms | p99 ms |',
    '|---|---|--:|--:|--:|--:|--:|--:|',
    ...outcome.rows.map(throughputLine),
  ];
  const sessions = ['| server | heap per session | process per session |', '|---|--:|--:|', ...outcome.sessions.map(sessionLine)];
  return [...throughput, ...(outcome.sessions.length === 0 ? [] : ['', 'Memory of one idle legacy session:', '', ...sessions])].join('\n');
}

function throughputLine(row: Row): string {
  const start = `| ${row.contender.title} | ${row.contender.id === 'limit' ? 'none' : WAY_TITLE[row.way]} |`;
  if (row.problem !== undefined) return `${start} not measured: ${cell(row.problem)} | | | | | |`;
  const { requestsPerSecond, range, ofLimit, ofSdkV2, p50Ms, p99Ms } = row;
  const sdk = row.contender.id === 'limit' || ofSdkV2 === undefined ? '' : `${ofSdkV2.toFixed(2)} x`;
  return `${start} ${whole(requestsPerSecond)} | ${range.map(whole).join('–')} | ${ofLimit.toFixed(3)} | ${sdk} | ${p50Ms.toFixed(2)} | ${p99Ms.toFixed(2)} |`;
}

function sessionLine({ contender, memory, problem }: SessionRow): string {
  if (memory === undefined) return `| ${contender.title} | ${cell(problem ?? 'not measured')} | |`;
  return `| ${contender.title} | ${kibibytes(memory.heapBytes)} | ${kibibytes(memory.residentBytes)} |`;
}

/** docs/benchmarks.md. */
export function document(outcome: Outcome, options: BenchOptions, run: RunDescription): string {
  const { rounds, seconds, warmUpSeconds, connections, sessions } = options;
  const contenders = [...new Set(outcome.rows.map((row) => row.contender))];
  return `# Benchmarks

Written by \`${run.command}\` on ${run.date}. Absolute figures belong to the machine; the ratios, taken within one round,
are what may be compared.

![Requests per second](benchmarks.svg)

${headline(outcome)}

${tables(outcome)}

## How it is measured

- Machine: ${run.cpu}, ${run.cores} cores, ${run.system}; Node.js ${run.node}.
- A \`tools/call\` of a tool that echoes a text, with ten tools registered and arguments checked by zod; ${connections}
  keep-alive connections, each with one request at a time.
- Every server is a process of its own, started anew for every round; ${run.pinning}.
- The rounds are interleaved: every server once, then all of them again. ${rounds} ${rounds === 1 ? 'round' : 'rounds'} of ${seconds} s per row
  after ${warmUpSeconds} s of warm-up; the table has the medians, and the medians of the rounds' ratios.
- Every answer is checked: status 200, the request's own id, no error, the text of this very request. A row with one wrong
  answer is not reported.
- The fully secured server is first called without a token, with the token of a caller without the role and with a forged
  one; a row is reported only when all are refused, and when afterwards its audit trail is intact and holds every call.
- The load generator was busy at most ${(outcome.generatorBusy * 100).toFixed(0)} % of the time: ${generatorVerdict(outcome.generatorBusy)}.
- Memory: ${sessions} legacy sessions, each initialized and used for one call, connections closed; growth of the server after a full
  garbage collection, divided by their number.${sessions === 0 ? ' Left out in this run.' : ''}

${contenders.map(({ title, note }) => `- **${title}**: ${note}.`).join('\n')}
`;
}

/** The last line of a run. */
export function headline(outcome: Outcome): string {
  const figures = (id: string, way: Way) => outcome.rows.find((row) => row.contender.id === id && row.way === way);
  const secured = figures('ours-secured', 'modern');
  if (secured === undefined) return 'bench: fully secured was not measured in this run';
  if (secured.problem !== undefined) return `bench: fully secured could not be measured: ${secured.problem}`;
  const sdk = secured.ofSdkV2 === undefined ? 'SDK v2 not measured' : `${secured.ofSdkV2.toFixed(2)} x SDK v2`;
  return `bench: fully secured ${Math.round(secured.requestsPerSecond)} req/s = ${secured.ofLimit.toFixed(3)} of plain node:http, ${sdk}`;
}

function generatorVerdict(busy: number): string {
  return busy < 0.9
    ? 'it was not what limits the figures'
    : '**it may have limited the fastest rows**, whose servers can be faster than it says';
}

/** 12345.6 as `12 346`, with a no-break space. */
export function whole(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, '\u00a0');
}

function kibibytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

/** Text for one cell of a table. */
export function cell(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, 300);
}
