import { BoundedStickyBalancer, LeastRequestBalancer, WeightedBalancer } from '@mcp-blocks/distributed-mcp-pattern';
import { checkBound, checkMoves, checkSpread, checkWeights, clusterPlacer, placerOf } from './balance-checks.ts';
import { MUTANTS } from './balance-mutants.ts';
import type { Finding } from './proof.ts';

/** With fewer, chance alone makes a tenth. */
const FEWEST_PICKS = 100_000;

/** What needs no network: distribution, exactness, moved keys, and the planted bugs. `n` picks for each. */
export async function proveStrategies(n: number, progress: (done: number) => void): Promise<Finding> {
  const results = [];
  results.push(checkSpread((random) => new LeastRequestBalancer(random), Math.max(n, FEWEST_PICKS)));
  progress(Math.floor(n / 4));
  results.push(checkWeights((random) => new WeightedBalancer(random), n));
  progress(Math.floor(n / 2));
  const keys = Math.max(5_000, Math.floor(n / 10));
  results.push(
    await checkMoves(
      'sticky',
      placerOf(() => new BoundedStickyBalancer()),
      keys,
    ),
  );
  results.push(await checkMoves('sessions of a cluster', clusterPlacer, Math.max(5_000, Math.floor(n / 50)), [3, 10]));
  results.push(checkBound((random) => new BoundedStickyBalancer({ random }), Math.floor(n / 4), 1.25));
  const missed: string[] = [];
  for (const [name, run] of MUTANTS) if ((await run(Math.max(10_000, Math.floor(n / 20)))).problem === undefined) missed.push(name);
  progress(n);
  const details = [...results.flatMap(({ problem }) => problem ?? []), ...missed.map((name) => `the planted bug was not found: ${name}`)];
  const figures = results.flatMap(({ figure, problem }) => (problem === undefined ? [figure] : []));
  return {
    held: details.length === 0,
    figure: `${figures.join('; ')}; planted bugs found ${MUTANTS.length - missed.length}/${MUTANTS.length}`,
    details,
  };
}
