import type { LoadResult } from '../load.ts';
import { whole } from '../report.ts';
import { median } from '../statistics.ts';
import { type Bench, load, program, type Section, withServer } from './section.ts';

const SERVERS = [
  { title: 'plain node:http', program: program('limit') },
  { title: 'MCP Blocks, fully secured', program: program('ours-secured') },
] as const;

/** Latency at half of what each can do, requests coming at a fixed rate. */
export async function measurePaced(bench: Bench): Promise<Section> {
  const results = SERVERS.map((): LoadResult[] => []);
  for (let round = 1; round <= bench.counts.rounds; round += 1) {
    for (const [at, { title, program: started }] of SERVERS.entries()) {
      bench.step(`round ${round}: half load, ${title}`);
      const result = await withServer(bench, started, async (server) => {
        const ratePerSecond = (await load(bench, server)).requestsPerSecond / 2;
        const { requests } = bench.counts;
        return load(bench, server, { ratePerSecond, ...(requests === undefined ? {} : { durationMs: (1000 * requests) / ratePerSecond }) });
      });
      results[at]?.push(result);
    }
  }
  const of = (at: number, figure: (result: LoadResult) => number) => median((results[at] as LoadResult[]).map(figure));
  const ratio = median((results[1] as LoadResult[]).map(({ p99Ms }, round) => p99Ms / (results[0]?.[round]?.p99Ms as number)));
  return {
    title: 'Latency at half load',
    table: [
      '| server | req/s | p50 ms | p99 ms | p99 of node:http |',
      '|---|--:|--:|--:|--:|',
      ...SERVERS.map(
        ({ title }, at) =>
          `| ${title} | ${whole(of(at, (result) => result.requestsPerSecond))} | ${of(at, (result) => result.p50Ms).toFixed(3)} | ${of(at, (result) => result.p99Ms).toFixed(3)} | ${(at === 0 ? 1 : ratio).toFixed(2)} |`,
      ),
    ].join('\n'),
    figure: `p99 at half load ${ratio.toFixed(2)} x node:http`,
    note: `Each server first as fast as it can, then at half of that: requests become due evenly, and the time of each counts from then, sent or not,
  so that no stall hides behind requests that were not sent (coordinated omission). The generator watches the clock all the time: its core is busy. Aim: below 3.`,
  };
}
