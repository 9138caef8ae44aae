import { ConfigurationError, type Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, sessionOf, unavailable } from './balancer.js';
import { fraction } from './hash.js';

/** Options of {@link LocalityBalancer}. */
export interface LocalityOptions {
  /** Where the cluster itself is: nodes of this region come first. */
  readonly region: string;
  /** Regions to go to next, in order; all others follow together. Default: none is named. */
  readonly failover?: readonly string[];
  /**
   * While at least this share of a region's nodes can take requests it takes all there is; below, it takes
   * as much less, and the rest goes on to the next region. Above 0, at most 1. Default: 0.7.
   */
  readonly threshold?: number;
  /** Makes the strategy within one region. */
  readonly strategy: () => Balancer;
  /** What keeps a request in one region while requests overflow. Default: its session. */
  readonly keyOf?: (info: PickInfo) => string | undefined;
  readonly random?: Random;
}

interface Level<Node extends Candidate> {
  readonly picker: Picker<Node>;
  /** Requests whose place in [0, 1) is below this, and not below that of the level before, belong here. */
  readonly upTo: number;
}

/**
 * Keeps requests in the own region while enough of its nodes can take them, and hands the overflow to the
 * next region in order, as Envoy's priorities do. A key keeps its region as long as the shares stay.
 */
export class LocalityBalancer implements Balancer {
  readonly #options: LocalityOptions & { readonly threshold: number };
  readonly #random: Random;
  /** By place in the order; the last one is for regions that are not named. */
  readonly #strategies: readonly Balancer[];

  /** @throws ConfigurationError when `threshold` is out of range or a region is named twice. */
  constructor(options: LocalityOptions) {
    const { region, failover = [], threshold = 0.7, strategy, random = Math.random } = options;
    if (!(threshold > 0 && threshold <= 1)) throw new ConfigurationError('threshold', `expected above 0 and at most 1, got ${threshold}`);
    if (new Set([region, ...failover]).size <= failover.length) throw new ConfigurationError('failover', 'expected each region once');
    this.#options = { ...options, threshold };
    this.#random = random;
    this.#strategies = [region, ...failover, undefined].map(() => strategy());
  }

  picker<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[] = nodes): Picker<Node> {
    const levels = this.#levels(nodes, all);
    const { keyOf = sessionOf } = this.#options;
    return {
      pick: (info: PickInfo): PickResult<Node> => {
        const key = keyOf(info);
        const place = levels.length < 2 ? 0 : key === undefined ? this.#random() : fraction(`locality\u0000${key}`);
        const first = levels.findIndex(({ upTo }) => place < upTo);
        const result = levels[first]?.picker.pick(info);
        if (result?.kind === 'complete') return result;
        // The request has failed on all of these: the others in order.
        for (const [index, { picker }] of levels.entries()) {
          const other = index === first ? undefined : picker.pick(info);
          if (other?.kind === 'complete') return other;
        }
        return unavailable(nodes);
      },
    };
  }

  #levels<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[]): Level<Node>[] {
    const { region, failover = [], threshold } = this.#options;
    const order = new Map([region, ...failover].map((name, index) => [name, index]));
    const levelOf = (node: Node) => order.get(node.region ?? '') ?? order.size;
    const found = this.#strategies
      .map((strategy, level) => {
        const usable = nodes.filter((node) => levelOf(node) === level);
        const known = all.filter((node) => levelOf(node) === level);
        return { strategy, usable, known, capacity: Math.min(1, usable.length / known.length / threshold) };
      })
      .filter(({ usable }) => usable.length > 0);
    // With too little everywhere, each region takes its part of what is left.
    const total = Math.min(
      1,
      found.reduce((sum, { capacity }) => sum + capacity, 0),
    );
    let taken = 0;
    return found.map(({ strategy, usable, known, capacity }, index) => {
      taken += capacity / total;
      return { picker: strategy.picker(usable, known), upTo: index === found.length - 1 ? 1 : Math.min(1, taken) };
    });
  }
}
