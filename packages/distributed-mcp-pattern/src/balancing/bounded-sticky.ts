import { ConfigurationError, type Random } from '@mcp-blocks/core';
import { affinityKey, type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';
import { hash, place } from './hash.js';
import { LeastRequestBalancer } from './least-request.js';

/** Options of {@link BoundedStickyBalancer}. */
export interface BoundedStickyOptions {
  /** No node gets more than this many times its part of the requests in progress; above 1. Default: 1.25. */
  readonly loadFactor?: number;
  /** Decides for requests without a session or caller. Default: the least loaded of two at random. */
  readonly keyless?: Balancer;
  readonly random?: Random;
}

/**
 * Keeps what belongs together, a session or a caller, on one node, but on no node more than a bounded load
 * (Mirrokni, Thorup and Zadimoghaddam, 2016): when the node of a key is full, the key's next one takes the
 * request. The order of nodes is weighted rendezvous hashing, so that it is the same in every process, a
 * node that enters or leaves moves only its own keys, and weights are followed exactly.
 */
export class BoundedStickyBalancer implements Balancer {
  readonly #loadFactor: number;
  readonly #keyless: Balancer;

  /** @throws ConfigurationError when `loadFactor` is not above 1. */
  constructor({ loadFactor = 1.25, random = Math.random, keyless = new LeastRequestBalancer(random) }: BoundedStickyOptions = {}) {
    if (!(loadFactor > 1 && Number.isFinite(loadFactor)))
      throw new ConfigurationError('loadFactor', `expected more than 1, got ${loadFactor}`);
    this.#loadFactor = loadFactor;
    this.#keyless = keyless;
  }

  picker<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[] = nodes): Picker<Node> {
    const keyless = this.#keyless.picker(nodes, all);
    const hashes = nodes.map(({ id }) => hash(id));
    return {
      pick: (info: PickInfo): PickResult<Node> => {
        const key = affinityKey(info);
        if (key === undefined) return keyless.pick(info);
        const node = this.#owner(nodes, hashes, key, info.exclude);
        return node === undefined ? unavailable(nodes) : { kind: 'complete', node };
      },
    };
  }

  #owner<Node extends Candidate>(
    nodes: readonly Node[],
    hashes: readonly number[],
    key: string,
    exclude: ReadonlySet<string> | undefined,
  ): Node | undefined {
    let requests = 1;
    let weights = 0;
    for (const node of nodes) {
      if (exclude?.has(node.id)) continue;
      requests += node.inFlight;
      weights += node.weight ?? 1;
    }
    const perWeight = (this.#loadFactor * requests) / weights;
    const keyHash = hash(key);
    let best: Node | undefined;
    let highest = -1;
    for (let index = 0; index < nodes.length; index += 1) {
      const node = nodes[index] as Node;
      const { weight = 1 } = node;
      // Some node is always below its bound, since the bounds add up to more than there is.
      if (exclude?.has(node.id) || node.inFlight >= Math.ceil(perWeight * weight)) continue;
      const drawn = place(keyHash, hashes[index] as number);
      // The order of weighted rendezvous hashing, weight / -log(drawn), for less.
      const score = weight === 1 ? drawn : drawn ** (1 / weight);
      if (score > highest || (score === highest && best !== undefined && node.id < best.id)) {
        highest = score;
        best = node;
      }
    }
    return best;
  }
}
