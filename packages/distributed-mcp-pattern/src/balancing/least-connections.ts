import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';

/** The node that would have the fewest requests in progress for its weight with one more; among equals a random one. */
export class LeastConnectionsBalancer implements Balancer {
  readonly #random: Random;

  constructor(random: Random = Math.random) {
    this.#random = random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    return {
      pick: ({ exclude }: PickInfo): PickResult<Node> => {
        let best: Node | undefined;
        let lowest = 0;
        let equals = 0;
        for (const node of nodes) {
          if (exclude?.has(node.id)) continue;
          const load = (node.inFlight + 1) / (node.weight ?? 1);
          if (best === undefined || load < lowest) {
            best = node;
            lowest = load;
            equals = 1;
          } else if (load === lowest) {
            // Each of k equals stays with probability 1/k.
            equals += 1;
            if (this.#random() * equals < 1) best = node;
          }
        }
        return best === undefined ? unavailable(nodes) : { kind: 'complete', node: best };
      },
    };
  }
}
