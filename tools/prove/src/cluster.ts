import { Callers } from './cluster-callers.ts';
import { makeFaults } from './cluster-faults.ts';
import { GATEWAY_MUTANTS, NODE_MUTANTS, unfound } from './cluster-mutants.ts';
import { type GatewayBug, type NodeBug, PACES } from './cluster-orders.ts';
import { amplification, ejectMany, OUTAGES, panicTable, STRICT_OUTAGES } from './cluster-stages.ts';
import { World } from './cluster-world.ts';
import type { Finding, Proof } from './proof.ts';
import { mulberry } from './random.ts';

const SEED = 20_260_728;
const MAX_FAILOVER_MS = 500;
const MAX_AMPLIFICATION = 1.2;
const OUTAGE_CALLS = 2_000;

/** How much of the proof is run. */
export interface Extent {
  readonly faults: number;
  /** On a machine that may be busy: time is not judged, nor is what depends on it. */
  readonly patient: boolean;
  readonly bugs: readonly (GatewayBug | NodeBug)[];
}

const ALL_BUGS = [...Object.keys(GATEWAY_MUTANTS), ...Object.keys(NODE_MUTANTS)] as (GatewayBug | NodeBug)[];

/** Runs as much as it is told to. */
export async function proveCluster({ faults, patient, bugs }: Extent, progress: (done: number) => void): Promise<Finding> {
  const world = await World.start(patient ? PACES.patient : PACES.tight);
  try {
    await world.open();
    // The short form looks only beside the threshold.
    const details: string[] = [...(await panicTable(world, patient ? [2, 3] : undefined))];
    if (!patient) details.push(...(await ejectMany(world)));
    const { figure, problems } = await underFaults(world, faults, patient, progress);
    details.push(...problems, ...world.violations);
    const figures = [figure, 'never more than 2 of 5 nodes ejected', 'panic with 0, 1 or 2 sound nodes of 5 and never else'];
    if (!patient) {
      await world.open();
      const worst = await amplification(world, OUTAGES, OUTAGE_CALLS);
      await world.open({ breakers: false });
      const bare = await amplification(world, STRICT_OUTAGES, OUTAGE_CALLS);
      figures.push(`requests at the nodes per call in outages at most ${worst.toFixed(3)}, without breakers ${bare.toFixed(3)}`);
      for (const value of [worst, bare]) if (value > MAX_AMPLIFICATION) details.push(`amplification ${value.toFixed(3)}`);
    }
    const missed = await unfound(world, bugs);
    details.push(...missed.map((bug) => `planted bug not found: ${bug}`));
    figures.push(`${bugs.length - missed.length} of ${bugs.length} planted bugs found`);
    return { held: details.length === 0, figure: figures.join('; '), details };
  } finally {
    await world.stop();
  }
}

async function underFaults(world: World, faults: number, patient: boolean, progress: (done: number) => void) {
  const callers = new Callers(
    world.gateways.map(({ url }) => url),
    { routes: patient ? 2 : 5, changers: 3 },
  );
  await callers.more(50);
  const failovers: number[] = [];
  const scene = { world, callers, failovers, random: mulberry(SEED), calls: patient ? 20 : 100, long: !patient };
  const counts = await makeFaults(faults, scene, progress);
  await callers.stop();
  const { calls, unknown, ...broken } = callers.account(world.effects);
  const { twice, lost, denied, open } = broken;
  const p99 = quantile(failovers, 0.99);
  const problems = [
    ...Object.entries({ twice, lost, denied, open }).flatMap(([what, tokens]) => tokens.map((token) => `${what}: ${token}`)),
    ...callers.wrong,
    ...(!patient && p99 >= MAX_FAILOVER_MS ? [`failover p99 ${p99.toFixed(0)} ms`] : []),
  ];
  const kinds = [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
  const figure =
    `${faults.toLocaleString('en')} faults (${kinds}); ${calls.toLocaleString('en')} calls with an effect: ${twice.length} duplicate effects, ` +
    `${lost.length + denied.length + open.length} silent losses, ${unknown} reported as unknown; ` +
    `${callers.failedReads} of ${callers.reads.toLocaleString('en')} reads failed; failover after kill -9 of ${failovers.length} callers ` +
    `p50 ${quantile(failovers, 0.5).toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${Math.max(0, ...failovers).toFixed(0)} ms`;
  return { figure, problems };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/**
 * Five nodes, two gateways, etcd and Redis, each a process, under load from clients of every kind, while `n`
 * faults happen. Promised: no effect comes twice, no caller is told what is not so, callers of a killed node
 * are served again in less than half a second, never more nodes are ejected than may be, panic begins at its
 * threshold, and an outage is not answered with a storm of retries. Planted bugs must be found.
 */
export const proof: Proof = {
  name: 'cluster',
  n: 1_000,
  run: (n, progress) => proveCluster({ faults: n, patient: false, bugs: ALL_BUGS }, progress),
};
