import { whole } from '../report.ts';
import { type Bench, load, program, type Section, UNTIL_DONE_MS, withServer } from './section.ts';

const STEPS = 10;

/** The secured server's heap after full collections, while it answers `n` requests. */
export async function measureMemory(bench: Bench): Promise<Section> {
  const { n } = bench.counts;
  const each = Math.max(1, Math.round(n / STEPS));
  const heap: number[] = [];
  let requests = 0;
  await withServer(bench, program('ours-secured'), async (server) => {
    for (let step = 0; step <= STEPS; step += 1) {
      bench.step(`memory: ${whole(requests)} of ${whole(n)} requests`);
      // The first load only warms up.
      const { sent } = await load(bench, server, {
        warmUpMs: 0,
        durationMs: UNTIL_DONE_MS,
        requests: step === 0 ? Math.min(each, 20_000) : each,
      });
      if (step > 0) requests += sent;
      heap.push((await server.memory()).heapBytes);
    }
  });
  const slope = slopeOf(heap.map((bytes, step) => [(step * requests) / STEPS, bytes]));
  return {
    title: 'Memory over many requests',
    table: [
      `| requests | ${heap.map((_, step) => whole((step * requests) / STEPS)).join(' | ')} |`,
      `|---|${heap.map(() => '--:').join('|')}|`,
      `| heap after collection, MiB | ${heap.map((bytes) => (bytes / 1024 ** 2).toFixed(2)).join(' | ')} |`,
    ].join('\n'),
    figure: `heap ${slope >= 0 ? '+' : ''}${slope.toFixed(2)} B per request over ${whole(requests)}`,
    note: 'The slope is that of the straight line nearest to the points (least squares). Aim: none.',
  };
}

/** Of the straight line nearest to the points. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (at: 0 | 1) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const numerator = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return numerator / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}
