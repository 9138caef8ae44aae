import type { Candidate } from './balancer.js';

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

/** FNV-1a over UTF-16 units with the finalizer of MurmurHash3, which spreads keys that differ in one character. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
