import {
  type Clock,
  type Discovery,
  Events,
  type JsonObject,
  type JsonValue,
  type Lock,
  type Random,
  RpcError,
  type RpcHandler,
  type RpcResult,
  type ServiceEvent,
  type ServiceNode,
  systemClock,
} from '@mcp-blocks/core';
import { createBalancer } from './balancing/strategy.js';
import { ChangeFeeds, type ChangeWatch, type WatchOptions } from './changes/change-feeds.js';
import type { CircuitSnapshot } from './circuit-breaker.js';
import type { ClusterEvents } from './cluster-events.js';
import { ClusterNode, type ClusterNodeOptions, type NodeStatus } from './cluster-node.js';
import { ClusterState } from './cluster-state.js';
import { type DistributedMCPConfig, type ResolvedConfig, resolveConfig } from './config.js';
import { openDiscovery } from './discovery/config.js';
import { CallCounter, type ClusterMetrics } from './metrics.js';
import { NodeSet } from './node-set.js';
import { type EjectionChange, OutlierDetector } from './resilience/outlier-detector.js';
import { type RouteOptions, Router } from './router.js';
import { connectWithSdk } from './upstream/sdk-connector.js';
import { UpstreamSessions } from './upstream-sessions.js';

const METRICS_EVENT_MS = 1_000;

/**
 * The nodes of one service as one handler: finds them, watches their health, spreads calls over them and
 * moves calls to another node where that is safe.
 *
 * `route` and `handler` reject with `RpcError`: what the node answered, or `unavailable` (no node can take
 * the call; `data.retryAfterMs`), `ambiguous_outcome` (the connection was lost, or time ran out, during a
 * call that must not be repeated), `timeout`, `cancelled`, `upstream_error`.
 */
export class DistributedMCPCluster {
  readonly #config: ResolvedConfig;
  readonly #discovery: Discovery;
  readonly #nodes: NodeSet;
  readonly #router: Router;
  readonly #counter: CallCounter;
  readonly #feeds: ChangeFeeds;
  readonly #state: ClusterState;
  readonly #events = new Events<ClusterEvents>();
  readonly #clock: Clock;
  #started: Promise<void> | undefined;
  #stopWatching: (() => Promise<void>) | undefined;
  #closed: Promise<void> | undefined;
  #cancelMetricsEvent: (() => void) | undefined;

  /** @throws ConfigurationError naming the option that is wrong. */
  constructor(config: DistributedMCPConfig) {
    this.#config = resolveConfig(config);
    const { clock = systemClock, random = Math.random, connect = connectWithSdk, clusterName, requestTimeout, retry } = this.#config;
    this.#clock = clock;
    this.#counter = new CallCounter(clock);
    this.#state = new ClusterState(clusterName, this.#config.stateManagementConfig);
    this.#feeds = new ChangeFeeds({ connect, credentials: this.#config.credentials, clock, random });
    this.#discovery = openDiscovery(this.#config.discoveryMethod, this.#config.discoveryConfig, this.#config);
    const detector = outlierDetectorOf(this.#config, clock, (change) => this.#onEjection(change));
    this.#nodes = new NodeSet({
      balancer: balancerOf(this.#config, random),
      detector,
      panicThreshold: this.#config.panicThreshold,
      onPanic: (change) => this.#events.emit('panicChange', change),
      create: (service, outlier) => this.#createNode(service, { config: this.#config, connect, clock, random, outlier }),
    });
    this.#router = new Router({
      clusterName,
      nodes: this.#nodes,
      counter: this.#counter,
      clock,
      random,
      requestTimeoutMs: requestTimeout,
      retry,
      hedgeDelayMs: this.#config.hedgingConfig?.delay,
      sessions: sessionsOf(this.#config, this.#state, clock),
      retryAfterMs: () => this.#retryAfterMs(),
    });
  }

  /** The cluster as a handler: what reaches it goes to a node, on behalf of the context's principal. */
  readonly handler: RpcHandler = ({ method, params }, context) => this.route(method, params, { context });

  /**
   * Resolves when the first list of nodes is there and each of them was checked once.
   * @throws RpcError `unavailable` when the registry cannot be asked; it may be called again then.
   */
  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** Listens to an event; the returned function ends it. */
  on<Name extends keyof ClusterEvents>(name: Name, listener: (event: ClusterEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Sends one MCP request to a node and resolves with its result. */
  async route(method: string, params: JsonObject = {}, options: RouteOptions = {}): Promise<RpcResult> {
    if (this.#closed !== undefined) throw new RpcError('unavailable', `The cluster ${this.#config.clusterName} is closed`);
    if (this.#started === undefined) throw new RpcError('unavailable', `The cluster ${this.#config.clusterName} was not started`);
    try {
      return await this.#router.route({ method, params }, options);
    } finally {
      this.#onActivity();
    }
  }

  /** Tells of changes at any node: of a resource, or of the lists. After a gap, what may have changed is reported as changed. */
  watch(options: WatchOptions, listener: (event: ServiceEvent) => void): ChangeWatch {
    return this.#feeds.watch(options, listener);
  }

  /** The nodes discovery knows, with what the cluster knows of them. */
  getServiceNodes(): readonly NodeStatus[] {
    return this.#nodes.all.map((node) => node.status());
  }

  /** The circuit breaker of each node, by node id. Empty when they are switched off. */
  getCircuitBreakers(): ReadonlyMap<string, CircuitSnapshot> {
    return new Map(this.#nodes.all.flatMap((node) => (node.circuit === undefined ? [] : [[node.id, node.circuit]])));
  }

  getClusterMetrics(): ClusterMetrics {
    const counter = this.#counter;
    return {
      totalNodes: this.#nodes.all.length,
      healthyNodes: this.#nodes.all.filter((node) => node.healthy).length,
      ejectedNodes: this.#nodes.all.filter((node) => node.ejected).length,
      panic: this.#nodes.panic,
      totalRequests: counter.total,
      successfulRequests: counter.successful,
      failedRequests: counter.failed,
      retries: counter.retries,
      hedges: counter.hedges,
      retriesRefused: counter.retriesRefused,
      averageLatency: counter.averageLatency,
      circuitBreakerTrips: this.#nodes.trips,
      ejections: this.#nodes.ejections,
      throughput: counter.throughput,
      nodes: this.getServiceNodes(),
    };
  }

  /** What {@link setSession} has kept, by any process of the cluster; `undefined` when there is none any more. */
  getSession(sessionId: string): Promise<JsonValue | undefined> {
    return this.#state.getSession(sessionId);
  }

  /** Keeps a session for `stateManagementConfig.sessionTtl`. */
  setSession(sessionId: string, session: JsonValue): Promise<void> {
    return this.#state.setSession(sessionId, session);
  }

  getSharedData(key: string): Promise<JsonValue | undefined> {
    return this.#state.getSharedData(key);
  }

  /** Keeps a value, for `ttlMs` milliseconds where given. */
  setSharedData(key: string, value: JsonValue, ttlMs?: number): Promise<void> {
    return this.#state.setSharedData(key, value, ttlMs);
  }

  /** Takes a lock for `ttlMs` milliseconds, or resolves with `undefined` when it is held. Does not wait. */
  acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    return this.#state.acquireLock(key, ttlMs);
  }

  /** Gives a lock back; resolves with whether it was still held with this token. */
  releaseLock(key: string, token: string): Promise<boolean> {
    return this.#state.releaseLock(key, token);
  }

  /** Stops watching and checking and closes every connection; calls in progress fail. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #start(): Promise<void> {
    const { serviceName } = this.#config.discoveryConfig;
    await this.#state.open();
    let firstChecks: Promise<unknown> = Promise.resolve();
    this.#stopWatching = await this.#discovery.watch(
      serviceName,
      (list) => {
        firstChecks = Promise.all(this.#onList(list));
      },
      (error) => this.#events.emit('error', error),
    );
    if (this.#closed !== undefined) return this.#stopWatching();
    await firstChecks;
  }

  #onList(list: readonly ServiceNode[]): Promise<void>[] {
    if (this.#closed !== undefined) return [];
    this.#feeds.update(list);
    const checks = this.#nodes.update(list).map((node) => node.start());
    this.#onNodeChange();
    return checks;
  }

  #createNode(service: ServiceNode, parts: Pick<ClusterNodeOptions, 'config' | 'connect' | 'clock' | 'random' | 'outlier'>): ClusterNode {
    return new ClusterNode(service, {
      ...parts,
      onChange: () => this.#onNodeChange(),
      onCheck: () => this.#onActivity(),
      onCircuit: (from, to) => this.#events.emit('circuitChange', { nodeId: service.id, from, to }),
      onHealth: (from, to, error) =>
        this.#events.emit('healthChange', { nodeId: service.id, from, to, ...(error === undefined ? {} : { error }) }),
    });
  }

  #onEjection(change: EjectionChange): void {
    if (!change.ejected) for (const node of this.#nodes.all) if (node.id === change.nodeId) node.startSlowly();
    this.#events.emit('ejectionChange', change);
    this.#onNodeChange();
  }

  #onNodeChange(): void {
    this.#nodes.refresh();
    this.#events.emit('nodeChange', this.getServiceNodes());
    this.#onActivity();
  }

  #onActivity(): void {
    if (this.#closed !== undefined || this.#cancelMetricsEvent !== undefined) return;
    this.#cancelMetricsEvent = this.#clock.setTimeout(() => {
      this.#cancelMetricsEvent = undefined;
      this.#events.emit('metricsChange', this.getClusterMetrics());
    }, METRICS_EVENT_MS);
  }

  async #close(): Promise<void> {
    this.#cancelMetricsEvent?.();
    await this.#stopWatching?.();
    if (this.#config.discoveryMethod !== 'custom') await this.#discovery.close();
    await Promise.all([this.#nodes.close(), this.#feeds.close()]);
    await this.#state.close();
    this.#events.clear();
  }

  /** Until the first open circuit lets a probe through, or the next health check may bring a node back. */
  #retryAfterMs(): number {
    const now = this.#clock.now();
    const probes = this.#nodes.all.flatMap((node) => node.circuit?.retryAt ?? []).map((at) => Math.max(0, at - now));
    const { enabled, interval } = this.#config.healthCheck;
    return Math.min(...probes, enabled ? interval : Number.POSITIVE_INFINITY, this.#config.circuitBreaker.resetTimeout);
  }
}

function sessionsOf({ upstreamSessions, stateManagementConfig }: ResolvedConfig, state: ClusterState, clock: Clock) {
  return upstreamSessions === 'own' ? new UpstreamSessions(state, clock, stateManagementConfig.sessionTtl) : undefined;
}

function balancerOf({ loadBalancingStrategy, stickyConfig, localityConfig, routingRules }: ResolvedConfig, random: Random) {
  return createBalancer({
    strategy: loadBalancingStrategy,
    stickyLoadFactor: stickyConfig.loadFactor,
    rules: routingRules,
    locality: localityConfig,
    random,
  });
}

function outlierDetectorOf({ outlierDetectionConfig }: ResolvedConfig, clock: Clock, onChange: (change: EjectionChange) => void) {
  const { enabled, interval, baseEjectionTime, maxEjectionTime, ...rest } = outlierDetectionConfig;
  if (!enabled) return undefined;
  return new OutlierDetector({
    ...rest,
    intervalMs: interval,
    baseEjectionMs: baseEjectionTime,
    maxEjectionMs: maxEjectionTime,
    clock,
    onChange,
  });
}
