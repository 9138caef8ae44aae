import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';

/**
 * Every node in turn as often as its weight says, evenly interleaved: weights 5, 1, 1 give A A B A C A A.
 *
 * Each pick gives every node credit equal to its weight and takes the sum of all weights from the one with
 * the most, as nginx does. Of any run of picks as long as the sum of whole weights, each node gets exactly
 * its weight; in between nobody is ever a whole pick ahead of its part.
 */
export class WeightedBalancer implements Balancer {
  readonly #random: Random;
  #accounts = new Map<string, { credit: number }>();

  /** @param random - where in its turn it starts, so that several clusters do not march in step. */
  constructor(random: Random = Math.random) {
    this.#random = random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    const first = this.#accounts.size === 0;
    // A node that stays goes on where it was; only differences of credit matter, so that the sum need not be 0.
    const accounts = nodes.map(({ id }) => this.#accounts.get(id) ?? { credit: 0 });
    this.#accounts = new Map(nodes.map(({ id }, index) => [id, accounts[index] as { credit: number }]));
    const picker = { pick: (info: PickInfo): PickResult<Node> => choose(nodes, accounts, info.exclude) };
    if (first) for (let skip = Math.floor(this.#random() * nodes.length); skip > 0; skip -= 1) picker.pick({});
    return picker;
  }
}

function choose<Node extends Candidate>(
  nodes: readonly Node[],
  accounts: readonly { credit: number }[],
  exclude: ReadonlySet<string> | undefined,
): PickResult<Node> {
  let best = -1;
  let most = 0;
  let sum = 0;
  for (let index = 0; index < nodes.length; index += 1) {
    const node = nodes[index] as Node;
    if (exclude?.has(node.id)) continue;
    const weight = node.weight ?? 1;
    const account = accounts[index] as { credit: number };
    account.credit += weight;
    sum += weight;
    if (best === -1 || account.credit > most) {
      best = index;
      most = account.credit;
    }
  }
  if (best === -1) return unavailable(nodes);
  (accounts[best] as { credit: number }).credit -= sum;
  return { kind: 'complete', node: nodes[best] as Node };
}
