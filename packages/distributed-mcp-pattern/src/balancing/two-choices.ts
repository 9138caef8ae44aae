import type { Random } from '@mcp-blocks/core';
import type { Candidate } from './balancer.js';

/** Draws tried before the nodes are sifted one by one. */
const BLIND_DRAWS = 4;

/** Two different nodes at random, of those not excluded; one when there is only one, none when there is none. */
export function twoChoices<Node extends Candidate>(
  nodes: readonly Node[],
  random: Random,
  exclude: ReadonlySet<string> | undefined,
): readonly [first?: Node | undefined, second?: Node | undefined] {
  if (exclude === undefined || exclude.size === 0) return draw(nodes, random);
  // Few are excluded as a rule: two drawn blindly are mostly free.
  for (let tries = 0; tries < BLIND_DRAWS; tries += 1) {
    const [first, second] = draw(nodes, random);
    if (first !== undefined && second !== undefined && !exclude.has(first.id) && !exclude.has(second.id)) return [first, second];
  }
  return draw(
    nodes.filter(({ id }) => !exclude.has(id)),
    random,
  );
}

function draw<Node>(nodes: readonly Node[], random: Random): readonly [first?: Node | undefined, second?: Node | undefined] {
  if (nodes.length < 2) return [nodes[0]];
  const first = Math.floor(random() * nodes.length);
  const other = Math.floor(random() * (nodes.length - 1));
  return [nodes[first], nodes[other >= first ? other + 1 : other]];
}
