import type { ServiceNode } from '@mcp-blocks/core';
import type { Balancer, Picker } from './balancing/balancer.js';
import { rendezvous } from './balancing/rendezvous.js';
import type { ClusterNode } from './cluster-node.js';

/** What a call may ask of the choice of node. */
export interface RouteAffinity {
  /** Used while it can take requests and this call has not failed on it. */
  readonly preferredNode?: string | undefined;
  /** Calls with the same key go to the same node while that can take requests. */
  readonly sessionId?: string | undefined;
}

/** The current nodes, kept in step with discovery, and the picker over those that can take requests. */
export class NodeSet {
  readonly #create: (service: ServiceNode) => ClusterNode;
  readonly #balancer: Balancer;
  #nodes = new Map<string, ClusterNode>();
  #available: readonly ClusterNode[] = [];
  #picker: Picker<ClusterNode>;
  readonly #retiring = new Set<ClusterNode>();
  readonly #closing = new Set<Promise<void>>();
  #tripsOfGone = 0;

  constructor(balancer: Balancer, create: (service: ServiceNode) => ClusterNode) {
    this.#balancer = balancer;
    this.#create = create;
    this.#picker = balancer.picker<ClusterNode>([]);
  }

  get all(): readonly ClusterNode[] {
    return [...this.#nodes.values()];
  }

  /** Times any circuit opened, also of nodes that are gone. */
  get trips(): number {
    return this.all.reduce((sum, node) => sum + (node.circuit?.trips ?? 0), this.#tripsOfGone);
  }

  /**
   * Takes over discovery's list. A node whose entry is unchanged keeps its state and connections; one that
   * left, or moved to another URL, is closed once its requests in progress have ended.
   */
  update(services: readonly ServiceNode[]): readonly ClusterNode[] {
    const next = new Map<string, ClusterNode>();
    const added: ClusterNode[] = [];
    for (const service of services) {
      const known = this.#nodes.get(service.id);
      if (known !== undefined && sameNode(known.service, service)) {
        next.set(service.id, known);
        continue;
      }
      const node = this.#create(service);
      next.set(service.id, node);
      added.push(node);
    }
    for (const node of this.#nodes.values()) {
      if (next.get(node.id) === node) continue;
      this.#tripsOfGone += node.circuit?.trips ?? 0;
      this.#retiring.add(node);
      this.#track(node.retire().finally(() => this.#retiring.delete(node)));
    }
    this.#nodes = next;
    this.refresh();
    return added;
  }

  /** Makes the picker anew after a node's health or circuit has changed. */
  refresh(): void {
    this.#available = this.all.filter((node) => node.available);
    this.#picker = this.#balancer.picker(this.#available);
  }

  /** The node to send a call to, or `undefined` when there is none left. */
  pick({ preferredNode, sessionId }: RouteAffinity, exclude: ReadonlySet<string>): ClusterNode | undefined {
    if (preferredNode !== undefined && !exclude.has(preferredNode)) {
      const preferred = this.#nodes.get(preferredNode);
      if (preferred?.available) return preferred;
    }
    if (sessionId !== undefined) return rendezvous(sessionId, this.#available, exclude);
    const result = this.#picker.pick({ exclude });
    return result.kind === 'complete' ? result.node : undefined;
  }

  async close(): Promise<void> {
    for (const node of [...this.#nodes.values(), ...this.#retiring]) this.#track(node.close());
    this.#nodes = new Map();
    this.refresh();
    await Promise.all(this.#closing);
  }

  #track(closing: Promise<void>): void {
    const tracked = closing.finally(() => this.#closing.delete(tracked));
    this.#closing.add(tracked);
  }
}

/** By content: a registry answers with a new object each time. */
function sameNode(a: ServiceNode, b: ServiceNode): boolean {
  const text = (node: ServiceNode) =>
    JSON.stringify([node.id, node.url, node.weight, node.region, node.version, Object.entries(node.metadata ?? {}).sort()]);
  return text(a) === text(b);
}
