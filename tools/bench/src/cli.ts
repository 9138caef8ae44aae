import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, type } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Benchmark } from './benchmark.ts';
import { chart } from './chart.ts';
import { benchClient } from './client/client-bench.ts';
import { CONTENDERS } from './contenders.ts';
import { benchGateway } from './gateway/gateway-bench.ts';
import { parseOptions, USAGE } from './options.ts';
import { benchPickCost } from './pick-cost.ts';
import { findPinning } from './pinning.ts';
import { progressOn } from './progress.ts';
import { document, headline, type RunDescription, tables } from './report.ts';
import { benchSecured } from './secured/secured-bench.ts';
import { benchWebSocket } from './websocket/websocket-bench.ts';

const DOCS = fileURLToPath(new URL('../../../docs', import.meta.url));
const IDS = CONTENDERS.map(({ id }) => id);

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === 'balance') return benchPickCost(args.slice(1), progressOn(process.stderr));
  if (args[0] === 'client') {
    await benchClient(args.slice(1));
    return 0;
  }
  if (args[0] === 'gateway') return benchGateway(args.slice(1));
  if (args[0] === 'secured') return benchSecured(args.slice(1));
  if (args[0] === 'websocket') {
    await benchWebSocket(args.slice(1));
    return 0;
  }
  const options = parseOptions(args, IDS, DOCS);
  if (options === undefined) {
    console.log(USAGE.replace('IDS', IDS.join(', ')));
    return 0;
  }
  const { only, out } = options;
  const contenders = CONTENDERS.filter(({ id }) => only === undefined || id === 'limit' || only.has(id));
  const pinning = findPinning();
  const progress = progressOn(process.stderr);
  const outcome = await new Benchmark(options, pinning, progress).run(contenders);
  progress.end();
  const run: RunDescription = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: availableParallelism(),
    node: process.versions.node,
    system: `${type()} ${release()}`,
    date: new Date().toISOString().slice(0, 10),
    command: ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args])].join(' '),
    pinning: pinning.description,
  };
  console.log(`${run.cpu}, ${run.cores} cores, Node.js ${run.node}; ${run.pinning}\n`);
  console.log(tables(outcome));
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'benchmarks.md'), document(outcome, options, run));
    writeFileSync(join(out, 'benchmarks.svg'), chart(outcome.rows));
    console.log(`\nWritten: ${join(out, 'benchmarks.md')} and benchmarks.svg`);
  }
  console.log(`\n${headline(outcome)}`);
  // A peer that fails is the peer's row; our own servers and what they are compared with have to run.
  const required = outcome.rows.filter(({ contender }) => contender.id === 'limit' || contender.id.startsWith('ours'));
  return required.some(({ problem }) => problem !== undefined) ? 1 : 0;
}

// Ends the servers too: each ends itself when its parent is gone.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
