import type { LoadResult } from '../load.ts';
import { whole } from '../report.ts';
import { median } from '../statistics.ts';
import { type Bench, load, program, type Section, withServer } from './section.ts';

const COUNTS = [1, 2] as const;

interface Measured extends LoadResult {
  /** Cores that the workers kept busy, the generator's time not among them. */
  readonly cores: number;
}

/** The secured server on one and on two workers, nothing pinned. */
export async function measureWorkers(bench: Bench): Promise<Section> {
  const results = COUNTS.map((): Measured[] => []);
  for (let round = 1; round <= bench.counts.rounds; round += 1) {
    for (const [at, workers] of COUNTS.entries()) {
      bench.step(`round ${round}: ${workers} workers`);
      const result = await withServer(bench, program('secured-workers', String(workers)), (server) => measure(bench, server), {
        prefix: [],
      });
      results[at]?.push(result);
    }
  }
  const of = (at: number, figure: (result: Measured) => number) => median((results[at] as Measured[]).map(figure));
  const ratio = median(
    (results[1] as Measured[]).map(
      ({ requestsPerSecond }, round) => requestsPerSecond / (results[0]?.[round]?.requestsPerSecond as number),
    ),
  );
  const perCore = (result: Measured) => result.requestsPerSecond / result.cores;
  const ratioPerCore = median((results[1] as Measured[]).map((two, round) => perCore(two) / perCore(results[0]?.[round] as Measured)));
  return {
    title: 'Two workers',
    table: [
      '| workers | req/s | of one | busy cores: workers | busy cores: load generator | req/s per busy core of the workers | of one |',
      '|--:|--:|--:|--:|--:|--:|--:|',
      ...COUNTS.map((workers, at) => {
        const ratios = at === 0 ? [1, 1] : [ratio, ratioPerCore];
        return `| ${workers} | ${whole(of(at, (result) => result.requestsPerSecond))} | ${ratios[0]?.toFixed(2)} | ${of(at, ({ cores }) => cores).toFixed(2)} | ${of(at, ({ generatorBusy }) => generatorBusy).toFixed(2)} | ${whole(of(at, perCore))} | ${ratios[1]?.toFixed(2)} |`;
      }),
    ].join('\n'),
    figure: `two workers ${ratio.toFixed(2)} x one, ${ratioPerCore.toFixed(2)} per busy core`,
    note: `A \`WorkerPool\`, each worker with limits and an audit file of its own; nothing is pinned. Aim: 1.8. On a machine of two cores two workers
  cannot have both, as the load generator takes its part of one: the last columns tell what a core of the workers' own does.`,
  };
}

async function measure(bench: Bench, server: Parameters<typeof load>[1]): Promise<Measured> {
  const { statusUrl = '' } = server.announcement;
  const { counts } = bench;
  // Warm before the clocks are read: the workers' processor time and the measured time have to be of the same requests.
  await load(bench, server, { warmUpMs: 0, ...(counts.requests === undefined ? { durationMs: counts.warmUpSeconds * 1000 } : {}) }, []);
  const [before, startedAt] = [await cpuSeconds(statusUrl), performance.now()];
  const result = await load(bench, server, { warmUpMs: 0 }, []);
  const [after, endedAt] = [await cpuSeconds(statusUrl), performance.now()];
  // The generator's start is none of the workers' time.
  const busyMs = Math.min(endedAt - startedAt, (1000 * result.answers) / result.requestsPerSecond);
  return { ...result, cores: (after - before) / (busyMs / 1000) };
}

/** Processor time of all workers since they started. */
async function cpuSeconds(statusUrl: string): Promise<number> {
  const page = await (await fetch(`${statusUrl}/metrics`)).text();
  return Number(/^process_cpu_seconds_total (\S+)$/m.exec(page)?.[1]);
}
