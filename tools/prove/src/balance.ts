import { besideHaproxy } from './balance-load.ts';
import { proveStrategies } from './balance-pure.ts';
import type { Finding, Proof } from './proof.ts';

const FULL = 1_000_000;
const ROUNDS = 5;

/**
 * The strategies spread, weigh and keep as they promise over `n` picks, and beside a real HAProxy with one
 * slow node their p99 is no worse. Planted bugs must be found.
 */
export const proof: Proof = {
  name: 'balance',
  n: FULL,
  async run(n, progress): Promise<Finding> {
    const strategies = await proveStrategies(n, (done) => progress(done / 2));
    const rounds = n < FULL ? 1 : ROUNDS;
    const beside = await besideHaproxy(rounds, (round) => progress((n * (1 + round / rounds)) / 2));
    const details = [...(strategies.details ?? []), ...beside.flatMap(({ problem }) => problem ?? [])];
    return {
      held: details.length === 0,
      figure: [strategies.figure, ...beside.map(({ figure }) => figure)].join('; '),
      details,
    };
  },
};
