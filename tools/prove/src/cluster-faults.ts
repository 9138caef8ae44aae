import type { Callers } from './cluster-callers.ts';
import { type ClusterNodeProcess, until } from './cluster-processes.ts';
import type { World } from './cluster-world.ts';

/** Where a fault happens. */
export interface Scene {
  readonly world: World;
  readonly callers: Callers;
  readonly random: () => number;
  /** Takes the times after `kill -9`. */
  readonly failovers: number[];
  /** A fault lasts for about so many calls, if it is not noticed before. */
  readonly calls: number;
  /** Whether some faults last until the registry has noticed. */
  readonly long: boolean;
}

/** Something that goes wrong with a node, is noticed, and is over when the promise resolves. */
type NodeFault = (node: ClusterNodeProcess, scene: Scene) => Promise<void>;

/** Both gateways have taken note of it, or as many calls as that have ended meanwhile. */
async function noticed({ id }: ClusterNodeProcess, { world, callers, calls }: Scene): Promise<void> {
  const enough = callers.ended + calls;
  await until(`${id} is noticed`, () => callers.ended >= enough || world.gateways.every((gateway) => gateway.node(id)?.available !== true));
}

/** Its entry in the registry has gone with its lease. */
function left({ id }: ClusterNodeProcess, { world }: Scene): Promise<void> {
  return until(`${id} has left`, () => world.gateways.every((gateway) => gateway.node(id) === undefined));
}

const faults = {
  async 'kill -9'(node, { callers, failovers }) {
    const over = callers.failover(node.id);
    await node.kill();
    failovers.push(...(await over));
    await node.start();
  },
  async SIGSTOP(node, scene) {
    node.stop();
    // Every fourth sleeps for longer than its lease.
    await (scene.long && scene.random() < 0.25 ? left(node, scene) : noticed(node, scene));
    node.continue();
  },
  async partition(node, scene) {
    node.partition();
    await noticed(node, scene);
    // Now and then nobody finds it healed at once.
    if (scene.random() < 0.25) await scene.callers.more(scene.calls);
    node.cut();
  },
  async 'one-way partition'(node, scene) {
    node.mute();
    await noticed(node, scene);
    if (scene.random() < 0.5) node.unmute();
    else node.cut();
  },
  async 'slow node'(node, { callers, calls, random, world }) {
    node.trouble({ slowMs: random() * 1.5 * world.pace.perTryMs });
    await callers.more(calls);
    node.trouble({});
  },
  async 'failing node'(node, scene) {
    node.trouble({ failing: 'unavailable' });
    await noticed(node, scene);
    node.trouble({});
  },
  async 'flapping node'(node, { callers, random }) {
    for (let turns = 2 + Math.floor(random() * 4); turns > 0; turns -= 1) {
      if (random() < 0.5) node.cut();
      else await node.close();
      await callers.more(5);
      await node.open();
      await callers.more(5);
    }
  },
} satisfies Record<string, NodeFault>;

export type FaultName = keyof typeof faults | 'etcd restart' | 'Redis restart';

/** How often each happens, of a hundred. */
const SHARES: readonly (readonly [FaultName, number])[] = [
  ['kill -9', 30],
  ['SIGSTOP', 14],
  ['partition', 12],
  ['one-way partition', 10],
  ['slow node', 10],
  ['failing node', 8],
  ['flapping node', 10],
  ['etcd restart', 3],
  ['Redis restart', 3],
];

/** As many faults happen at a time, to different nodes. */
const AT_A_TIME = 2;

/** Makes `n` faults happen, each kind at least once where there is room, in an order that `random` decides. */
export async function makeFaults(n: number, scene: Scene, progress: (done: number) => void): Promise<ReadonlyMap<FaultName, number>> {
  const counts = new Map<FaultName, number>();
  const troubled = new Set<string>();
  const queue = Array.from({ length: n }, (_, index) => SHARES[index]?.[0] ?? drawn(scene.random));
  let done = 0;
  const lane = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      await happen(name, scene, troubled);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      progress((done += 1));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, lane));
  return counts;
}

function drawn(random: () => number): FaultName {
  let place = random() * 100;
  for (const [name, share] of SHARES) if ((place -= share) < 0) return name;
  return 'kill -9';
}

async function happen(name: FaultName, scene: Scene, troubled: Set<string>): Promise<void> {
  const { world, callers, random } = scene;
  if (name === 'etcd restart' || name === 'Redis restart') {
    const server = name === 'etcd restart' ? world.etcd : world.redis;
    // The other lane may want the same one.
    await until('the server is left alone', () => !troubled.has(name));
    troubled.add(name);
    await server.kill();
    await callers.more(10);
    await server.start();
    troubled.delete(name);
    return;
  }
  const well = world.nodes.filter(({ id }) => !troubled.has(id));
  const node = well[Math.floor(random() * well.length)] as ClusterNodeProcess;
  troubled.add(node.id);
  await faults[name](node, scene);
  await world.recovered(node.id);
  troubled.delete(node.id);
}
