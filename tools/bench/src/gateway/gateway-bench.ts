import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { numberOption } from '../options.ts';
import { findPinning } from '../pinning.ts';
import { progressOn } from '../progress.ts';
import { type GatewayCounts, type GatewayFigures, measureGateways } from './gateway-rounds.ts';
import { gatewayHeadline, gatewayTables } from './gateway-tables.ts';
import { STATIONS } from './stations.ts';

const USAGE = `Usage: npm run bench -- gateway [options]

Measures a tools/call through HAProxy, nginx, a bare Node proxy, our gateway plain and fully loaded, and mcp-proxy, beside
the same call sent to the node: requests per second and added latency at 1, 8 and 32 connections.

  --rounds N    rounds, interleaved; the tables have their medians (default 5)
  --seconds N   measured seconds per row and round (default 1.2)
  --warm-up N   seconds of load before those (default 1)
  --quick       one short round, to see that everything runs: figures of no worth`;

const PAGE = fileURLToPath(new URL('../../../../docs/benchmarks-gateway.md', import.meta.url));

/** `npm run bench -- gateway`. A full run writes docs/benchmarks-gateway.md. Resolves with the exit code. */
export async function benchGateway(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { quick } = values;
  const counts: GatewayCounts = {
    rounds: numberOption('--rounds', values.rounds, quick ? 1 : 5, { min: 1, whole: true }),
    seconds: numberOption('--seconds', values.seconds, quick ? 0.3 : 1.2, { min: 0.1 }),
    warmUpSeconds: numberOption('--warm-up', values['warm-up'], quick ? 0.2 : 1, { min: 0 }),
  };
  const loadBefore = loadavg()[0] as number;
  const progress = progressOn(process.stderr);
  const figures = await measureGateways(counts, STATIONS, findPinning(), progress.step);
  progress.end();
  const tables = gatewayTables(figures);
  console.log(tables);
  if (!quick) {
    writeFileSync(PAGE, page(tables, figures, counts, loadBefore, args));
    console.log(`\nWritten: ${PAGE}`);
  }
  console.log(`\n${gatewayHeadline(figures)}`);
  // What is not installed is its row; our own and what they are compared with have to run.
  const required = figures.rows.filter(({ station }) => ['direct', 'bare', 'gateway', 'gateway-loaded'].includes(station.id));
  return required.some(({ problem }) => problem !== undefined) ? 1 : 0;
}

function page(
  tables: string,
  figures: GatewayFigures,
  { rounds, seconds, warmUpSeconds }: GatewayCounts,
  load: number,
  args: readonly string[],
): string {
  const busy = (figures.generatorBusy * 100).toFixed(0);
  return `# Gateway benchmarks

Written by \`${['npm run bench -- gateway', ...args].join(' ')}\` on ${new Date().toISOString().slice(0, 10)}. Absolute figures belong to
the machine; the ratios and the added times, taken within one round, are what may be compared.

${gatewayHeadline(figures)}

${tables}

What a choice of node costs with each balancing strategy, among 10, 100 and 1,000 nodes: \`npm run bench -- balance\`.

## How it is measured

- Machine: ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, load average before the run ${load.toFixed(1)};
  Node.js ${process.versions.node}; ${findPinning().description}. The server here is what stands in between; the node behind all
  of them shares the load generator's core, also when it is asked directly.
- A \`tools/call\` (MCP 2026-07-28) of a tool that echoes a text, over keep-alive connections with one request at a time each. The
  node is the same for all: \`node:http\`, ten tools, and as little work as MCP allows.
- ${rounds} ${rounds === 1 ? 'round' : 'rounds'}. In each, everything is started anew, and for each number of connections all take
  turns: ${seconds} s each after ${warmUpSeconds} s of warm-up. The tables have the medians, and the medians of the rounds'
  ratios and differences.
- Every answer is checked: status 200, the request's own id, no error, the text of this very request. A row with one wrong answer
  is not reported.
- The fully loaded gateway is first called without a token and with a forged one, which it has to refuse; its row is reported only
  when afterwards its audit trail is intact and holds every call.
- The load generator was busy at most ${busy} % of the time; together with the node's part that is its core.

${STATIONS.map(({ title, note }) => `- **${title}**: ${note}.`).join('\n')}
`;
}
