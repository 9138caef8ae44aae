import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';

/** The node with the fewest requests in progress; among equals a random one. */
export class LeastConnectionsBalancer implements Balancer {
  readonly #random: Random;

  constructor(random: Random = Math.random) {
    this.#random = random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    return {
      pick: ({ exclude }: PickInfo): PickResult<Node> => {
        let best: Node | undefined;
        let equals = 0;
        for (const node of nodes) {
          if (exclude?.has(node.id)) continue;
          if (best === undefined || node.inFlight < best.inFlight) {
            best = node;
            equals = 1;
          } else if (node.inFlight === best.inFlight) {
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
