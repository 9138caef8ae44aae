import { type Balancer, BoundedStickyBalancer, type Candidate, type Picker, type PickInfo } from '@mcp-blocks/distributed-mcp-pattern';
import { type CheckResult, checkBound, checkMoves, checkSpread, checkWeights, placerOf, type Random } from './balance-checks.ts';

/** A strategy that looks only at the list and the request. */
export function strategy(choose: <Node extends Candidate>(nodes: readonly Node[], info: PickInfo) => Node): Balancer {
  return {
    picker: <Node extends Candidate>(nodes: readonly Node[]): Picker<Node> => ({
      pick: (info) => ({ kind: 'complete', node: choose(nodes, info) }),
    }),
  };
}

const any = <Node>(nodes: readonly Node[], random: Random): Node => nodes[Math.floor(random() * nodes.length)] as Node;

/** P2C that takes the busier one. */
const worseOfTwo = (random: Random) =>
  strategy((nodes) => {
    const [first, second] = [any(nodes, random), any(nodes, random)];
    return first.inFlight >= second.inFlight ? first : second;
  });

/** P2C that always takes the first it draws. */
const oneChoice = (random: Random) => strategy((nodes) => any(nodes, random));

/** P2C whose second choice is never the last node. */
const offByOne = (random: Random) =>
  strategy((nodes) => {
    const [first, second] = [any(nodes, random), any(nodes.slice(0, -1), random)];
    return first.inFlight < second.inFlight ? first : second;
  });

/** Weighted by chance: right on average. */
const weightedRandom = (random: Random) =>
  strategy((nodes) => {
    let place = random() * nodes.reduce((sum, { weight = 1 }) => sum + weight, 0);
    for (const node of nodes) if ((place -= node.weight ?? 1) < 0) return node;
    return nodes[0] as (typeof nodes)[number];
  });

/** Smooth weights with the sum one too high: it drifts. */
const drifting = () => smooth((sum) => sum + 1);
/** Smooth weights that begin anew with every list. */
const forgetful = () => smooth((sum) => sum, true);

function smooth(charge: (sum: number) => number, forgets = false): Balancer {
  let credit = new Map<string, number>();
  return {
    picker: (nodes) => {
      if (forgets) credit = new Map();
      return {
        pick: () => {
          let best = nodes[0] as (typeof nodes)[number];
          let sum = 0;
          for (const node of nodes) {
            sum += node.weight ?? 1;
            credit.set(node.id, (credit.get(node.id) ?? 0) + (node.weight ?? 1));
            if ((credit.get(node.id) as number) > (credit.get(best.id) as number)) best = node;
          }
          credit.set(best.id, (credit.get(best.id) as number) - charge(sum));
          return { kind: 'complete', node: best };
        },
      };
    },
  };
}

const number = (text: string) => [...text].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) >>> 0, 7);
/** Sticky by the remainder of a hash. */
const modulo = () => strategy((nodes, { sessionId = '' }) => nodes[number(sessionId) % nodes.length] as (typeof nodes)[number]);
/** Sticky by a hash of the place in the list beside the key. */
const byNeighbour = () =>
  strategy((nodes, { sessionId = '' }) => nodes[(number(sessionId) + nodes.length) % nodes.length] as (typeof nodes)[number]);

/** Every planted bug with the check that must find it. */
export const MUTANTS: readonly (readonly [name: string, run: (picks: number) => CheckResult | Promise<CheckResult>])[] = [
  ['p2c takes the busier one', (picks) => checkSpread(worseOfTwo, picks)],
  ['p2c looks at one node only', (picks) => checkSpread(oneChoice, picks)],
  ['p2c leaves the last node out of its second choice', (picks) => checkSpread(offByOne, picks)],
  ['weights are followed by chance', (picks) => checkWeights(weightedRandom, picks)],
  ['weights drift', (picks) => checkWeights(drifting, picks)],
  ['weights begin anew with every list', (picks) => checkWeights(forgetful, picks)],
  ['sessions by the remainder of a hash', (picks) => checkMoves('sticky', placerOf(modulo), Math.ceil(picks / 10))],
  ['sessions by the length of the list', (picks) => checkMoves('sticky', placerOf(byNeighbour), Math.ceil(picks / 10))],
  ['sticky without its bound', (picks) => checkBound((random) => new BoundedStickyBalancer({ loadFactor: 1e6, random }), picks, 1.25)],
];
