import type { Random } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { createBalancer, STRATEGY_NAMES } from '../src/balancing/strategy.js';
import {
  type Balancer,
  BoundedStickyBalancer,
  type Candidate,
  LeastConnectionsBalancer,
  LeastRequestBalancer,
  LocalityBalancer,
  PeakEwmaBalancer,
  type Picker,
  type PickInfo,
  type PickResult,
  RoundRobinBalancer,
  RoutingRulesBalancer,
  WeightedBalancer,
} from '../src/index.js';
import { balancerContract } from '../src/testing/index.js';

const whole = { rules: [], stickyLoadFactor: 1.25 };

const STRATEGIES: Record<string, (random: Random) => Balancer> = {
  'round-robin': (random) => new RoundRobinBalancer(random),
  'least-connections': (random) => new LeastConnectionsBalancer(random),
  weighted: (random) => new WeightedBalancer(random),
  sticky: (random) => new BoundedStickyBalancer({ random }),
  p2c: (random) => new LeastRequestBalancer(random),
  'peak-ewma': (random) => new PeakEwmaBalancer(random),
  'a locality': (random) => new LocalityBalancer({ region: 'here', strategy: () => new RoundRobinBalancer(random), random }),
  'routing rules': (random) =>
    new RoutingRulesBalancer({
      rules: [
        { tools: ['t*'], nodes: { version: '2' }, percentage: 10 },
        { methods: ['tools/*'], nodes: {} },
      ],
      strategy: () => new LeastRequestBalancer(random),
      random,
    }),
  ...Object.fromEntries(
    STRATEGY_NAMES.map((strategy) => [
      `the whole choice with ${strategy}`,
      (random: Random) => createBalancer({ ...whole, strategy, random }),
    ]),
  ),
};

describe.each(Object.entries(STRATEGIES))('%s', (_name, make) => {
  for (const { name, run } of balancerContract) it(name, () => run({ make }));
});

/** A strategy made from a function that picks an index, for breaking. */
const broken =
  (choose: (nodes: readonly Candidate[], info: PickInfo, turn: number) => number | undefined): (() => Balancer) =>
  () => {
    let turn = 0;
    return {
      picker: <Node extends Candidate>(nodes: readonly Node[]): Picker<Node> => ({
        pick: (info): PickResult<Node> => {
          const index = choose(nodes, info, (turn += 1));
          return index === undefined || index < 0
            ? { kind: 'unavailable', reason: 'none' }
            : { kind: 'complete', node: nodes[index] as Node };
        },
      }),
    };
  };
const right = (nodes: readonly Candidate[], info: PickInfo, turn: number): number | undefined => {
  const left = nodes.flatMap(({ id }, index) => (info.exclude?.has(id) ? [] : [index]));
  return left[turn % left.length];
};

const sticksToItsFirstList = (): Balancer => {
  let kept: readonly Candidate[] | undefined;
  const inner = broken(right)();
  return {
    picker: <Node extends Candidate>(nodes: readonly Node[]) => {
      if (nodes.length > 0) kept ??= nodes;
      return inner.picker((kept ?? nodes) as readonly Node[]);
    },
  };
};
const remembersExclusions = (): Balancer => {
  const gone = new Set<string>();
  return broken((nodes, info, turn) => {
    for (const id of info.exclude ?? []) gone.add(id);
    return right(nodes, { ...info, exclude: gone }, turn);
  })();
};
const keepsNodesInAnObject = (): Balancer =>
  broken((nodes, info, turn) => {
    const index = right(nodes, info, turn);
    const known: Record<string, number> = {};
    for (const { id } of nodes) known[id] = 0;
    return index !== undefined && Object.keys(known).includes(nodes[index]!.id) ? index : undefined;
  })();

it('the broken strategies below are broken by what was changed alone', () => {
  for (const { run } of balancerContract) expect(() => run({ make: broken(right) })).not.toThrow();
});

it.each<[string, (random: Random) => Balancer]>([
  ['ignores exclusions', broken((nodes, _info, turn) => (nodes.length === 0 ? undefined : turn % nodes.length))],
  [
    'picks nothing where something is',
    broken((nodes, info, turn) => (info.sessionId === undefined ? right(nodes, info, turn) : undefined)),
  ],
  ['picks outside of its list', broken((nodes, info, turn) => (turn % 50 === 0 ? nodes.length : right(nodes, info, turn)))],
  ['always takes the first', broken((nodes, info) => nodes.findIndex(({ id }) => !info.exclude?.has(id)))],
  ['sorts the list it is given', broken((nodes, info, turn) => right((nodes as Candidate[]).sort(), info, turn))],
  ['throws without nodes', broken((nodes, info, turn) => (nodes[0]!.id.length < 0 ? 0 : right(nodes, info, turn)))],
  [
    'rounds a random number up',
    (random) =>
      broken((nodes, { exclude }) => (exclude === undefined ? Math.round(random() * nodes.length) : right(nodes, { exclude }, 0)))(),
  ],
  ['never leaves its first list', sticksToItsFirstList],
  ['remembers exclusions', remembersExclusions],
  ['keeps nodes in a plain object', keepsNodesInAnObject],
])('the contract finds out a strategy that %s', (_what, make) => {
  const found = balancerContract.filter(({ run }) => {
    try {
      run({ make });
      return false;
    } catch {
      return true;
    }
  });
  expect(found.map(({ name }) => name)).not.toEqual([]);
});

it('a strategy that prefers one node says so', () => {
  const make = broken((nodes, info) => nodes.findIndex(({ id }) => !info.exclude?.has(id)));
  for (const { run } of balancerContract) expect(() => run({ make, spreads: false })).not.toThrow();
});
