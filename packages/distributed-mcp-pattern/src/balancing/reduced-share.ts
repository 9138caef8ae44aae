import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, sessionOf } from './balancer.js';
import { fraction } from './hash.js';

/** Options of {@link ReducedShareBalancer}. */
export interface ReducedShareOptions {
  readonly strategy: Balancer;
  /** Whether the strategy follows weights. Default: true. */
  readonly weighted?: boolean;
  /** What the strategy keeps on one node. Default: the session. */
  readonly keyOf?: (info: PickInfo) => string | undefined;
  readonly random?: Random;
}

/**
 * Gives nodes with a reduced share (just come back, or degraded) that share of what they would get, whatever
 * the strategy: neither a flood because they are idle, nor nothing because others look better. Keys come
 * back to their node one after the other, and stay.
 */
export class ReducedShareBalancer implements Balancer {
  readonly #options: ReducedShareOptions;
  readonly #random: Random;

  constructor(options: ReducedShareOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[] = nodes): Picker<Node> {
    const inner = this.#options.strategy.picker(nodes, all);
    const { weighted = true, keyOf = sessionOf } = this.#options;
    const weightOf = (node: Node) => (weighted ? (node.weight ?? 1) : 1);
    const reduced = nodes.filter((node) => (node.share ?? 1) < 1);
    // Equal for all is no reduction: there is nobody to take the rest.
    if (reduced.length === 0 || reduced.length === nodes.length) return inner;
    const full = nodes.reduce((sum, node) => sum + ((node.share ?? 1) < 1 ? 0 : weightOf(node)), 0);
    return {
      pick: (info) => {
        const now = reduced.filter((node) => (node.share ?? 1) < 1 && !info.exclude?.has(node.id));
        if (now.length === 0) return inner.pick(info);
        const key = keyOf(info);
        return (key === undefined ? this.#drawn(now, full, weightOf) : undefined) ?? pickWithout(inner, info, now, key);
      },
    };
  }

  /** One of the reduced nodes with the probability of its share. */
  #drawn<Node extends Candidate>(reduced: readonly Node[], full: number, weightOf: (node: Node) => number): PickResult<Node> | undefined {
    const parts = reduced.map((node) => weightOf(node) * (node.share ?? 1));
    let place = this.#random() * parts.reduce((sum, part) => sum + part, full);
    for (const [index, part] of parts.entries()) {
      if (place < part) return { kind: 'complete', node: reduced[index] as Node };
      place -= part;
    }
    return undefined;
  }
}

/** The strategy's choice among the others, where there are any; a key may stay on a reduced node that has it. */
function pickWithout<Node extends Candidate>(
  inner: Picker<Node>,
  info: PickInfo,
  reduced: readonly Node[],
  key: string | undefined,
): PickResult<Node> {
  if (key !== undefined) {
    const own = inner.pick(info);
    if (own.kind !== 'complete' || fraction(`share\u0000${key}`) < (own.node.share ?? 1)) return own;
  }
  const result = inner.pick({ ...info, exclude: new Set([...(info.exclude ?? []), ...reduced.map(({ id }) => id)]) });
  return result.kind === 'complete' ? result : inner.pick(info);
}
