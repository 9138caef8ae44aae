import { type Balancer, type Candidate, type Picker, unavailable } from './balancer.js';
import { hash } from './hash.js';
import { rendezvous } from './rendezvous.js';

/** Keeps the requests of a session on one node, by rendezvous hashing; the others follow the strategy inside. */
export class SessionAffinityBalancer implements Balancer {
  readonly #inner: Balancer;

  constructor(inner: Balancer) {
    this.#inner = inner;
  }

  picker<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[] = nodes): Picker<Node> {
    const inner = this.#inner.picker(nodes, all);
    const hashes = nodes.map(({ id }) => hash(id));
    return {
      pick: (info) => {
        if (info.sessionId === undefined) return inner.pick(info);
        const node = rendezvous(info.sessionId, nodes, info.exclude, hashes);
        return node === undefined ? unavailable(nodes) : { kind: 'complete', node };
      },
    };
  }
}
