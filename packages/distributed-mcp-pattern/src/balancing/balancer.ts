/** What a balancer may know of a node. All but the identity is read at the moment of the choice. */
export interface Candidate {
  readonly id: string;
  /** Requests sent to it and not yet answered. */
  readonly inFlight: number;
  /** Its part of the traffic relative to the others, for strategies that weigh; positive. Default: 1. */
  readonly weight?: number | undefined;
  /** How long it takes to answer, in milliseconds, quick to rise and slow to fall. `undefined`: not known yet. */
  readonly latencyMs?: number | undefined;
  /** How much of its usual part it is to get for now: less than 1 while it is started slowly or degraded. Default: 1. */
  readonly share?: number | undefined;
  readonly region?: string | undefined;
  readonly version?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** What one request asks of the choice. */
export interface PickInfo {
  /** Ids of nodes that must not be chosen: this request has failed on them, or they are full. */
  readonly exclude?: ReadonlySet<string> | undefined;
  /** The session the request belongs to. */
  readonly sessionId?: string | undefined;
  /** Names the caller, where there is one; the same for every request of the same caller. */
  readonly caller?: string | undefined;
  /** The MCP method. */
  readonly method?: string | undefined;
  /** The tool's name, of `tools/call`. */
  readonly tool?: string | undefined;
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
 *
 * Every strategy passes `balancerContract` of `@mcp-blocks/distributed-mcp-pattern/testing`.
 */
export interface Balancer {
  /**
   * @param nodes - those that can take requests, each id once.
   * @param all - every node that discovery knows, these included. Default: `nodes`.
   */
  picker<Node extends Candidate>(nodes: readonly Node[], all?: readonly Node[]): Picker<Node>;
}

/** The answer of every picker that has nothing left to choose from. */
export function unavailable(nodes: readonly Candidate[]): { readonly kind: 'unavailable'; readonly reason: string } {
  return { kind: 'unavailable', reason: nodes.length === 0 ? 'no node can take requests' : 'every node that can take requests was tried' };
}

/** What requests that belong together have in common: the session, else the caller. */
export function affinityKey({ sessionId, caller }: PickInfo): string | undefined {
  return sessionId ?? caller;
}

/** The session alone; what every strategy keeps on one node. */
export function sessionOf({ sessionId }: PickInfo): string | undefined {
  return sessionId;
}
