import type { Candidate } from './balancer.js';
import { hash } from './hash.js';

/**
 * The node a key belongs to, by highest random weight (Thaler and Ravishankar, 1998): the same list gives
 * the same node in every process, and a node that goes moves only its own keys.
 */
export function rendezvous<Node extends Candidate>(key: string, nodes: readonly Node[], exclude?: ReadonlySet<string>): Node | undefined {
  let best: Node | undefined;
  let highest = -1;
  for (const node of nodes) {
    if (exclude?.has(node.id)) continue;
    const weight = hash(`${node.id}\u0000${key}`);
    if (weight > highest || (weight === highest && best !== undefined && node.id < best.id)) {
      highest = weight;
      best = node;
    }
  }
  return best;
}
