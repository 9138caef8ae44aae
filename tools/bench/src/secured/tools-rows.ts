import { whole } from '../report.ts';
import { median } from '../statistics.ts';
import { type Bench, load, program, type Section, withServer } from './section.ts';

const COUNTS = [10, 1000] as const;

/** The secured server with 10 and with 1,000 tools, by turns. */
export async function measureTools(bench: Bench): Promise<Section> {
  const results = COUNTS.map((): number[] => []);
  for (let round = 1; round <= bench.counts.rounds; round += 1) {
    for (const [at, tools] of COUNTS.entries()) {
      bench.step(`round ${round}: ${tools} tools`);
      const { requestsPerSecond } = await withServer(bench, program('ours-secured', String(tools)), (server) => load(bench, server));
      results[at]?.push(requestsPerSecond);
    }
  }
  const ratios = results.map((own) => median(own.map((value, round) => value / (results[0]?.[round] as number))));
  return {
    title: 'A thousand tools',
    table: [
      '| tools | req/s | of ten |',
      '|--:|--:|--:|',
      ...COUNTS.map((tools, at) => `| ${whole(tools)} | ${whole(median(results[at] as number[]))} | ${ratios[at]?.toFixed(3)} |`),
    ].join('\n'),
    figure: `1,000 tools ${ratios[1]?.toFixed(2)} of 10`,
    note: 'Calls of the same tool; aim: within 5 %.',
  };
}
