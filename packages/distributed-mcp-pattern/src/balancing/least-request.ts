import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';
import { twoChoices } from './two-choices.js';

/**
 * Power of two choices: of two nodes at random the one with the higher weight / (requests in progress + 1).
 * As even as looking at every node, nearly, for the price of looking at two (Mitzenmacher, 2001), and
 * several clusters that know only their own requests do not all run to the same idle node.
 */
export class LeastRequestBalancer implements Balancer {
  readonly #random: Random;

  constructor(random: Random = Math.random) {
    this.#random = random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    return {
      pick: ({ exclude }: PickInfo): PickResult<Node> => {
        const [first, second] = twoChoices(nodes, this.#random, exclude);
        if (first === undefined) return unavailable(nodes);
        return { kind: 'complete', node: second === undefined || room(first) >= room(second) ? first : second };
      },
    };
  }
}

function room({ weight = 1, inFlight }: Candidate): number {
  return weight / (inFlight + 1);
}
