import type { ServiceNode } from '@mcp-blocks/core';
import type { Balancer, Picker, PickInfo } from './balancing/balancer.js';
import type { PanicChange } from './cluster-events.js';
import type { ClusterNode } from './cluster-node.js';
import type { OutlierDetector, OutlierWatch } from './resilience/outlier-detector.js';

/** What {@link NodeSet} works with. */
export interface NodeSetOptions {
  readonly balancer: Balancer;
  readonly create: (service: ServiceNode, outlier: OutlierWatch | undefined) => ClusterNode;
  /** Absent: no node is ejected. */
  readonly detector: OutlierDetector | undefined;
  /** Below this share of sound nodes, health and ejections are disregarded; 0 to 1. */
  readonly panicThreshold: number;
  readonly onPanic: (change: PanicChange) => void;
}

/** The current nodes, kept in step with discovery, and the picker over those that can take requests. */
export class NodeSet {
  readonly #options: NodeSetOptions;
  #nodes = new Map<string, ClusterNode>();
  #picker: Picker<ClusterNode>;
  #panic = false;
  readonly #retiring = new Set<ClusterNode>();
  readonly #closing = new Set<Promise<void>>();
  #tripsOfGone = 0;
  #ejectionsOfGone = 0;

  constructor(options: NodeSetOptions) {
    this.#options = options;
    this.#picker = options.balancer.picker<ClusterNode>([]);
  }

  get all(): readonly ClusterNode[] {
    return [...this.#nodes.values()];
  }

  /** Whether health and ejections are disregarded now. */
  get panic(): boolean {
    return this.#panic;
  }

  /** Times any circuit opened, also of nodes that are gone. */
  get trips(): number {
    return this.all.reduce((sum, node) => sum + (node.circuit?.trips ?? 0), this.#tripsOfGone);
  }

  /** Times any node was ejected, also of nodes that are gone. */
  get ejections(): number {
    return this.all.reduce((sum, node) => sum + node.ejections, this.#ejectionsOfGone);
  }

  /**
   * Takes over discovery's list. A node with the same id and URL keeps its state and connections, whatever
   * else its entry says now; one that left, or moved to another URL, is closed once its requests in progress
   * have ended.
   */
  update(services: readonly ServiceNode[]): readonly ClusterNode[] {
    // Of the first list, all are equally new.
    const first = this.#nodes.size === 0;
    const next = new Map<string, ClusterNode>();
    const added: ClusterNode[] = [];
    for (const service of services) {
      const known = this.#nodes.get(service.id);
      if (known?.service.url === service.url) {
        known.describe(service);
        next.set(service.id, known);
        continue;
      }
      const node = this.#options.create(service, this.#options.detector?.watch(service.id));
      if (!first) node.startSlowly();
      next.set(service.id, node);
      added.push(node);
    }
    const before = this.#nodes;
    this.#nodes = next;
    for (const node of before.values()) {
      if (next.get(node.id) === node) continue;
      this.#tripsOfGone += node.circuit?.trips ?? 0;
      this.#ejectionsOfGone += node.ejections;
      this.#retiring.add(node);
      this.#track(node.retire().finally(() => this.#retiring.delete(node)));
    }
    this.refresh();
    return added;
  }

  /** Makes the picker anew after a node's health, circuit or ejection has changed. */
  refresh(): void {
    const { balancer, panicThreshold, onPanic } = this.#options;
    const { all } = this;
    const sound = all.filter((node) => node.sound);
    const panic = all.length > 0 && sound.length / all.length < panicThreshold;
    const changed = panic !== this.#panic;
    this.#panic = panic;
    this.#picker = balancer.picker(
      (panic ? all : sound).filter((node) => node.permits),
      all,
    );
    if (changed) onPanic({ panic, soundNodes: sound.length, totalNodes: all.length });
  }

  /**
   * The node to send a call to, or `undefined` when there is none left. The preferred one is used while it
   * can take requests and is not excluded.
   */
  pick(info: PickInfo, preferredNode?: string): ClusterNode | undefined {
    if (preferredNode !== undefined && !info.exclude?.has(preferredNode)) {
      const preferred = this.#nodes.get(preferredNode);
      if (preferred?.permits && (this.#panic || preferred.sound)) return preferred;
    }
    const result = this.#picker.pick(info);
    return result.kind === 'complete' ? result.node : undefined;
  }

  async close(): Promise<void> {
    this.#options.detector?.close();
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
