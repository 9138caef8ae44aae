import type { Random } from '@mcp-blocks/core';
import type { Balancer, Candidate, Picker, PickInfo } from '../balancing/balancer.js';

/** A strategy under test. */
export interface BalancerHarness {
  /** Makes a new strategy that takes its random numbers from `random`. */
  readonly make: (random: Random) => Balancer;
  /** Whether idle nodes of equal weight each get something of requests that have nothing in common. Default: true. */
  readonly spreads?: boolean;
}

/** One promise of {@link balancerContract}. */
export interface BalancerContractCase {
  readonly name: string;
  /** Throws when the strategy breaks the promise. */
  run(harness: BalancerHarness): void;
}

/** A node as the cases have it: with what a strategy may count on, and nothing more. */
class Node implements Candidate {
  readonly id: string;
  readonly weight: number | undefined;
  inFlight = 0;
  latencyMs: number | undefined;

  constructor(id: string) {
    this.id = id;
    this.weight = 1;
  }
}

/** Requests with and without a session, caller and method: a strategy must take all of them. */
const INFOS: readonly PickInfo[] = [
  {},
  { sessionId: 's' },
  { caller: 'c' },
  { method: 'tools/call', tool: 't' },
  { sessionId: '__proto__', caller: '', method: '' },
];

/** Ids that trip up those who keep nodes in plain objects. */
const ODD_IDS = ['__proto__', 'constructor', '', 'ä', '0', ' '];

/**
 * What every load balancing strategy promises. A list of cases without a test framework:
 *
 * ```ts
 * for (const { name, run } of balancerContract) it(name, () => run({ make: (random) => new MyBalancer(random) }));
 * ```
 */
export const balancerContract: readonly BalancerContractCase[] = [
  {
    name: 'without nodes, every request is answered as unavailable',
    run: ({ make }) => {
      const picker = make(sequence()).picker<Node>([]);
      for (const info of INFOS) expectUnavailable(picker, info);
    },
  },
  {
    name: 'picks every node that is not excluded, one after the other, and then is unavailable',
    run: ({ make }) => {
      for (const count of [1, 2, 3, 20]) {
        for (const info of INFOS) {
          const nodes = frozen(count);
          const picker = make(sequence(count)).picker(nodes);
          const exclude = new Set<string>();
          while (exclude.size < count) exclude.add(pickOf(picker, { ...info, exclude }, nodes).id);
          expectUnavailable(picker, { ...info, exclude });
        }
      }
    },
  },
  {
    name: 'picks only nodes of its own list, also when nodes came and went',
    run: ({ make }) => {
      const balancer = make(sequence());
      const pool = frozen(8);
      for (const [from, to] of [
        [0, 8],
        [0, 3],
        [2, 8],
        [7, 8],
        [0, 1],
        [0, 8],
      ] as const) {
        const nodes = pool.slice(from, to);
        const picker = balancer.picker(Object.freeze(nodes), pool);
        for (let round = 0; round < 40; round += 1) for (const info of INFOS) pickOf(picker, info, nodes);
      }
      expectUnavailable(balancer.picker<Node>([], pool), {});
    },
  },
  {
    name: 'takes any id, any load and both ends of the random numbers',
    run: ({ make }) => {
      for (const random of [() => 0, () => 1 - Number.EPSILON]) {
        const nodes = Object.freeze(ODD_IDS.map((id) => new Node(id)));
        const picker = make(random).picker(nodes);
        for (const inFlight of [0, 1, 1_000_000]) {
          for (const node of nodes) node.inFlight = inFlight;
          for (const latencyMs of [undefined, 0, 1e9]) {
            for (const node of nodes) node.latencyMs = latencyMs;
            for (const info of INFOS) pickOf(picker, info, nodes);
          }
        }
      }
    },
  },
  {
    name: 'an exclusion holds for its own request only',
    run: ({ make }) => {
      const nodes = frozen(2);
      const picker = make(sequence()).picker(nodes);
      for (const info of INFOS) {
        for (const { id } of nodes) {
          const other = pickOf(picker, { ...info, exclude: new Set([id]) }, nodes);
          if (other.id === id) throw new Error(`${id} was picked although it was excluded`);
        }
        expectUnavailable(picker, { ...info, exclude: new Set(nodes.map(({ id }) => id)) });
        pickOf(picker, info, nodes);
      }
    },
  },
  {
    name: 'idle nodes of equal weight all get something',
    run: ({ make, spreads = true }) => {
      if (!spreads) return;
      for (const count of [2, 5, 16]) {
        const nodes = frozen(count);
        const picker = make(sequence(count)).picker(nodes);
        const picked = new Map<string, number>();
        const total = 200 * count;
        for (let round = 0; round < total; round += 1) {
          const { id } = pickOf(picker, {}, nodes);
          picked.set(id, (picked.get(id) ?? 0) + 1);
        }
        for (const { id } of nodes) {
          const share = picked.get(id) ?? 0;
          if (share < 100 || share > 400) throw new Error(`of ${total} requests for ${count} nodes, ${id} got ${share}`);
        }
      }
    },
  },
];

function frozen(count: number): readonly Node[] {
  return Object.freeze(Array.from({ length: count }, (_, index) => new Node(`node-${index}`)));
}

function pickOf(picker: Picker<Node>, info: PickInfo, nodes: readonly Node[]): Node {
  const result = picker.pick(info);
  if (result.kind !== 'complete') throw new Error(`no node was picked for ${JSON.stringify(info)}: ${result.reason}`);
  if (!nodes.includes(result.node)) throw new Error(`${JSON.stringify(result.node?.id)} was picked, which is none of the nodes`);
  if (info.exclude?.has(result.node.id)) throw new Error(`${result.node.id} was picked although it was excluded`);
  return result.node;
}

function expectUnavailable(picker: Picker<Node>, info: PickInfo): void {
  const result = picker.pick(info);
  if (result.kind !== 'unavailable') throw new Error(`${result.node?.id} was picked where nothing was left`);
  if (result.reason === '') throw new Error('no reason was given');
}

/** The same numbers in every run: a linear congruential generator. */
function sequence(seed = 1): Random {
  return () => (seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
}
