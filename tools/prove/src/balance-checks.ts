import { type ServiceNode, StaticDiscovery } from '@mcp-blocks/core';
import { type Balancer, type Candidate, DistributedMCPCluster, type Picker, type PickInfo } from '@mcp-blocks/distributed-mcp-pattern';
import { mulberry } from './random.ts';

/** A node as a strategy sees it, with its load in our hands. */
export interface SimulatedNode extends Candidate {
  inFlight: number;
}

/** What a check found: `problem` when the promise did not hold. */
export interface CheckResult {
  readonly figure: string;
  readonly problem?: string;
}

export type Random = () => number;

const nodesOf = (count: number, weightOf: (index: number) => number = () => 1): SimulatedNode[] =>
  Array.from({ length: count }, (_, index) => ({ id: `node-${index}`, inFlight: 0, weight: weightOf(index) }));

function pickOf(picker: Picker<SimulatedNode>, info: PickInfo = {}): SimulatedNode {
  const result = picker.pick(info);
  if (result.kind !== 'complete') throw new Error(result.reason);
  return result.node;
}

const MAX_SPREAD = 1.1;
/** Requests in progress per node. */
const LOAD = 8;
/** No node has ever more than this many times the mean in progress; choices at random have three times and more. */
const MAX_PEAK = 2;

/**
 * P2C under load: every node gets nearly the same number of requests, and no node is ever far busier than
 * the others. Requests end in random order.
 */
export function checkSpread(make: (random: Random) => Balancer, picks: number): CheckResult {
  const worst = { spread: 0, peak: 0 };
  for (const count of [10, 100]) {
    const random = mulberry(count);
    const nodes = nodesOf(count);
    const picker = make(random).picker(nodes);
    const picked = new Map(nodes.map((node) => [node, 0]));
    const running: SimulatedNode[] = [];
    let peak = 0;
    for (let turn = 0; turn < picks; turn += 1) {
      if (running.length === count * LOAD) {
        const at = Math.floor(random() * running.length);
        (running[at] as SimulatedNode).inFlight -= 1;
        running[at] = running.at(-1) as SimulatedNode;
        running.pop();
      }
      const node = pickOf(picker);
      node.inFlight += 1;
      running.push(node);
      picked.set(node, (picked.get(node) as number) + 1);
      if (node.inFlight > peak) peak = node.inFlight;
    }
    worst.spread = Math.max(worst.spread, Math.max(...picked.values()) / (picks / count));
    worst.peak = Math.max(worst.peak, peak / LOAD);
  }
  const figure = `p2c max/mean ${worst.spread.toFixed(3)}, busiest moment ${worst.peak.toFixed(2)} x mean over ${picks} picks`;
  if (worst.spread > MAX_SPREAD) return { figure, problem: `p2c: max/mean ${worst.spread.toFixed(3)} is above ${MAX_SPREAD}` };
  if (worst.peak > MAX_PEAK) return { figure, problem: `p2c: a node had ${worst.peak.toFixed(2)} times the mean in progress` };
  return { figure };
}

/** Weighted: exact over any run as long as the weights, nobody a whole pick ahead, also when the list is made anew. */
export function checkWeights(make: (random: Random) => Balancer, picks: number): CheckResult {
  const random = mulberry(7);
  let done = 0;
  let sets = 0;
  while (done < picks) {
    const weights = Array.from({ length: 1 + Math.floor(random() * 8) }, () => 1 + Math.floor(random() * 20));
    const nodes = nodesOf(weights.length, (index) => weights[index] as number);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const balancer = make(random);
    let picker = balancer.picker(nodes);
    const counts = new Map(nodes.map((node) => [node, 0]));
    const history: SimulatedNode[] = [];
    for (let turn = 1; turn <= 4 * total; turn += 1) {
      if (random() < 0.05) picker = balancer.picker(nodes);
      const node = pickOf(picker);
      history.push(node);
      const count = (counts.get(node) as number) + 1;
      counts.set(node, count);
      const ahead = count - (turn * (node.weight as number)) / total;
      // Where it starts within its turn is its own choice: that can put it ahead by as much again.
      if (ahead >= 2) return { figure: '', problem: `weighted: ${weights.join()}: a node was ${ahead.toFixed(2)} picks ahead of its part` };
      if (turn < total) continue;
      const window = history.slice(turn - total, turn);
      for (const [index, candidate] of nodes.entries()) {
        const got = window.filter((other) => other === candidate).length;
        if (got !== weights[index]) {
          return { figure: '', problem: `weighted: weights ${weights.join()} gave node ${index} ${got} of a run of ${total}` };
        }
      }
    }
    done += 4 * total;
    sets += 1;
  }
  return { figure: `weighted exact in every run of ${sets} sets of weights` };
}

/** One node more or less moves about 1/N of the keys, and only to it or from it. `placer` tells where keys belong. */
export async function checkMoves(
  what: string,
  placer: (nodes: readonly ServiceNode[]) => Promise<{ place(key: string): Promise<string>; close(): Promise<void> }>,
  keys: number,
  counts: readonly number[] = [2, 3, 10, 30],
): Promise<CheckResult> {
  const names = Array.from({ length: keys }, (_, index) => `session-${index}`);
  let worst = 0;
  for (const count of counts) {
    const list = Array.from({ length: count + 1 }, (_, index) => ({ id: `node-${index}`, url: `http://node-${index}.test/mcp` }));
    const placesOf = async (nodes: readonly ServiceNode[]) => {
      const balancer = await placer(nodes);
      try {
        const places: string[] = [];
        for (const name of names) places.push(await balancer.place(name));
        return places;
      } finally {
        await balancer.close();
      }
    };
    const added = list[count] as ServiceNode;
    const before = await placesOf(list.slice(0, count));
    const after = await placesOf(list);
    const moved = before.flatMap((place, index) => (place === after[index] ? [] : [after[index]]));
    // Read backwards, the same is the removal of that node from count + 1.
    const share = moved.length / keys / (1 / count);
    worst = Math.max(worst, moved.length / keys / (1 / (count + 1)));
    if (moved.some((to) => to !== added.id)) return { figure: '', problem: `${what}: keys moved between nodes that both stayed` };
    if (share > MAX_SPREAD || worst > MAX_SPREAD) {
      return { figure: '', problem: `${what}: with ${count} nodes, one more moved ${moved.length} of ${keys} keys` };
    }
  }
  return { figure: `${what} moved at most ${worst.toFixed(3)} x 1/N of ${keys} keys` };
}

/** Sticky under load: the bound holds for each node at every moment, however few the keys are. */
export function checkBound(make: (random: Random) => Balancer, picks: number, loadFactor: number): CheckResult {
  const random = mulberry(11);
  const nodes = nodesOf(10, (index) => 1 + (index % 3));
  const weights = nodes.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const picker = make(random).picker(nodes);
  const running: SimulatedNode[] = [];
  for (let turn = 0; turn < picks; turn += 1) {
    if (running.length === 200) (running.splice(Math.floor(random() * 200), 1)[0] as SimulatedNode).inFlight -= 1;
    // A few keys make most of the load.
    const node = pickOf(picker, { sessionId: `hot-${Math.floor(random() ** 4 * 50)}` });
    const bound = Math.ceil((loadFactor * (running.length + 1) * (node.weight ?? 1)) / weights);
    node.inFlight += 1;
    running.push(node);
    if (node.inFlight > bound) return { figure: '', problem: `sticky: a node had ${node.inFlight} in progress where ${bound} are allowed` };
  }
  return { figure: `sticky within its bound at every one of ${picks} picks` };
}

/** Where a strategy places sessions. */
export function placerOf(make: () => Balancer) {
  return async (nodes: readonly ServiceNode[]) => {
    const picker = make().picker(nodes.map(({ id }) => ({ id, inFlight: 0 })));
    return { place: async (sessionId: string) => pickOf(picker, { sessionId }).id, close: async () => {} };
  };
}

/** Where a whole cluster sends the calls of sessions, with the strategy round-robin. */
export async function clusterPlacer(nodes: readonly ServiceNode[]) {
  const cluster = new DistributedMCPCluster({
    clusterName: 'proof',
    discoveryMethod: 'custom',
    discoveryConfig: { serviceName: 'proof', discovery: new StaticDiscovery({ proof: nodes }) },
    healthCheckConfig: { enabled: false },
    connect: async ({ id }) => ({
      closed: false,
      request: async () => ({ id }),
      ping: async () => {},
      close: async () => {},
    }),
  });
  await cluster.start();
  return {
    place: async (sessionId: string) => String((await cluster.route('ping', {}, { sessionId })).id),
    close: () => cluster.close(),
  };
}
