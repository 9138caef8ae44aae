import type { Candidate } from './balancer.js';
import { hash, place } from './hash.js';

/**
 * The node a key belongs to, by highest random weight (Thaler and Ravishankar, 1998): the same list gives
 * the same node in every process, and a node that goes moves only its own keys.
 *
 * @param hashes - of the nodes' ids, where they are kept.
 */
export function rendezvous<Node extends Candidate>(
  key: string,
  nodes: readonly Node[],
  exclude?: ReadonlySet<string>,
  hashes: readonly number[] = nodes.map(({ id }) => hash(id)),
): Node | undefined {
  const keyHash = hash(key);
  let best: Node | undefined;
  let highest = -1;
  for (let index = 0; index < nodes.length; index += 1) {
    const node = nodes[index] as Node;
    if (exclude?.has(node.id)) continue;
    const score = place(keyHash, hashes[index] as number);
    if (score > highest || (score === highest && best !== undefined && node.id < best.id)) {
      highest = score;
      best = node;
    }
  }
  return best;
}
