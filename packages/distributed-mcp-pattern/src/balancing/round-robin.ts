import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';

/** Every node in turn. Starts at a random one, so that several clusters do not march in step. */
export class RoundRobinBalancer implements Balancer {
  #turn: number;

  constructor(random: Random = Math.random) {
    this.#turn = Math.floor(random() * 1024);
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    return {
      pick: ({ exclude }: PickInfo): PickResult<Node> => {
        for (let step = 0; step < nodes.length; step += 1) {
          const node = nodes[this.#turn % nodes.length] as Node;
          this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
          if (!exclude?.has(node.id)) return { kind: 'complete', node };
        }
        return unavailable(nodes);
      },
    };
  }
}
