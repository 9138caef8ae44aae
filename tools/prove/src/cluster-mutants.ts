import { type Account, Callers } from './cluster-callers.ts';
import type { GatewayBug, NodeBug } from './cluster-orders.ts';
import { until } from './cluster-processes.ts';
import { amplification, ejectMany, panicTable, STRICT_OUTAGES } from './cluster-stages.ts';
import type { World } from './cluster-world.ts';

/** Looks for a planted bug; resolves with whether it was found. */
type Search = (world: World) => Promise<boolean>;

const LOAD = { routes: 2, changers: 3 };
const ROUNDS = 10;
const OUTAGE_CALLS = 300;

/** Cuts nodes off from their callers, when they have got calls and before their answers get through, until `found`. */
function loseAnswers(found: (account: Account) => boolean): Search {
  return async (world) => {
    const callers = callersOf(world);
    const seen = () => found(callers.account(world.effects));
    for (let round = 0; round < ROUNDS && !seen(); round += 1) {
      const node = world.nodes[round % world.nodes.length];
      if (node === undefined) break;
      await callers.more(10);
      node.mute();
      const enough = (await node.count()) + 3;
      const patience = callers.ended + 100;
      while ((await node.count()) < enough && callers.ended < patience);
      node.cut();
      await callers.more(10);
    }
    await callers.stop();
    return seen();
  };
}

/** Kills a node and looks for what it had promised. */
async function losePromises(world: World): Promise<boolean> {
  const callers = callersOf(world);
  await callers.more(40);
  for (const node of world.nodes.slice(0, 2)) {
    await node.kill();
    await callers.more(20);
    await node.start();
  }
  await callers.stop();
  // What the others have promised, they have done.
  await Promise.all(world.nodes.map((node) => node.count()));
  return callers.account(world.effects).lost.length > 0;
}

/** Looks how long callers stay on a node that was killed. */
export function slowFailover(limitMs: number): Search {
  return async (world) => {
    const callers = new Callers(
      world.gateways.map(({ url }) => url),
      { routes: 10, changers: 0 },
    );
    await callers.more(100);
    let longest = 0;
    for (const node of world.nodes) {
      const over = callers.failover(node.id);
      await node.kill();
      longest = Math.max(longest, ...(await over));
      await node.start();
      await until(`${node.id} is back`, () => world.gateways.every((gateway) => gateway.node(node.id) !== undefined));
    }
    await callers.stop();
    return longest >= limitMs;
  };
}

function callersOf({ gateways }: World): Callers {
  return new Callers(
    gateways.map(({ url }) => url),
    LOAD,
  );
}

/** Every planted bug of a gateway, and what has to find it. */
export const GATEWAY_MUTANTS: Readonly<Record<GatewayBug, Search>> = {
  'repeats-everything': loseAnswers(({ twice }) => twice.length > 0),
  'denies-everything': loseAnswers(({ denied }) => denied.length > 0),
  'no-cap': async (world) => {
    await ejectMany(world);
    return world.violations.some((violation) => violation.startsWith('ejected'));
  },
  'no-panic': async (world) => (await panicTable(world)).length > 0,
  'no-budget': async (world) => (await amplification(world, STRICT_OUTAGES, OUTAGE_CALLS)) > 1.2,
  'no-failover': slowFailover(500),
};

/** The same of the nodes. */
export const NODE_MUTANTS: Readonly<Record<NodeBug, Search>> = {
  'no-keys': loseAnswers(({ twice }) => twice.some((token) => token.startsWith('put'))),
  'answers-first': losePromises,
};

/** Plants the bugs one after the other; resolves with the names of those that were not found. */
export async function unfound(world: World, names: readonly (GatewayBug | NodeBug)[]): Promise<readonly string[]> {
  const missed: string[] = [];
  const isOfNodes = (name: GatewayBug | NodeBug): name is NodeBug => name in NODE_MUTANTS;
  for (const bug of names.filter(isOfNodes)) {
    if (!world.isPlain) await world.open({ count: 1 });
    for (const node of world.nodes) node.plant(bug);
    if (!(await NODE_MUTANTS[bug](world))) missed.push(bug);
    for (const node of world.nodes) node.plant(null);
  }
  for (const bug of names) {
    if (isOfNodes(bug)) continue;
    await world.open({ count: 1, bug, breakers: bug !== 'no-budget' });
    if (!(await GATEWAY_MUTANTS[bug](world))) missed.push(bug);
  }
  return missed;
}
