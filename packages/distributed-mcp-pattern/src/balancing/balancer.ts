/** What a balancer may know of a node. */
export interface Candidate {
  readonly id: string;
  /** Requests sent to it and not yet answered, read at the moment of the choice. */
  readonly inFlight: number;
}

/** What one request asks of the choice. */
export interface PickInfo {
  /** Nodes this request has failed on already. */
  readonly exclude?: ReadonlySet<string>;
}

/** The outcome of a choice. */
export type PickResult<Node extends Candidate> =
  | { readonly kind: 'complete'; readonly node: Node }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Chooses among a fixed list of nodes. Immutable: when the list changes there is a new one. */
export interface Picker<Node extends Candidate> {
  pick(info: PickInfo): PickResult<Node>;
}

/**
 * A load balancing strategy. It is asked for a new {@link Picker} whenever the nodes that can take
 * requests change; what must outlive such a change (a position, a random source) it keeps itself.
 */
export interface Balancer {
  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node>;
}

/** The answer of every picker that has nothing left to choose from. */
export function unavailable(nodes: readonly Candidate[]): { readonly kind: 'unavailable'; readonly reason: string } {
  return { kind: 'unavailable', reason: nodes.length === 0 ? 'no node can take requests' : 'every node that can take requests was tried' };
}
