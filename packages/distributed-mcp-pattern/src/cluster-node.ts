import type { Clock, Random, ServiceNode } from '@mcp-blocks/core';
import type { Candidate } from './balancing/balancer.js';
import { CircuitBreaker, type CircuitPermit, type CircuitSnapshot } from './circuit-breaker.js';
import type { ResolvedConfig } from './config.js';
import { HealthMonitor, type HealthState } from './health-monitor.js';
import { ConnectionPool, mint } from './upstream/connection-pool.js';
import type { Connect, Upstream } from './upstream/upstream.js';

/** What the cluster tells about one of its nodes. */
export interface NodeStatus extends ServiceNode {
  readonly health: HealthState;
  /** Whether requests are sent to it now. */
  readonly available: boolean;
  readonly circuit: CircuitSnapshot['state'];
  /** Requests in progress. */
  readonly inFlight: number;
  readonly totalRequests: number;
  /** Requests the node did not answer, or answered with a server failure. */
  readonly failedRequests: number;
  /** Mean milliseconds of the requests that were answered; 0 before the first. */
  readonly averageLatency: number;
  /** Open connections, one per identity. */
  readonly connections: number;
  /** Epoch milliseconds of the last health check. */
  readonly lastHealthCheckAt?: number;
  readonly lastHealthError?: string;
}

/** How one request to a node ended. */
export type NodeOutcome = 'answered' | 'failed' | 'abandoned';

/** What {@link ClusterNode} works with. */
export interface ClusterNodeOptions {
  readonly config: ResolvedConfig;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly random: Random;
  /** Told when whether it can take requests may have changed. */
  readonly onChange: () => void;
  /** Told after each health check. */
  readonly onCheck: () => void;
}

/** One node with everything the cluster knows of it and holds open to it. */
export class ClusterNode implements Candidate {
  readonly service: ServiceNode;
  readonly pool: ConnectionPool;
  readonly #breaker: CircuitBreaker | undefined;
  readonly #health: HealthMonitor | undefined;
  readonly #clock: Clock;
  #probe: Promise<Upstream> | undefined;
  #onDrained: () => void = () => {};
  #inFlight = 0;
  #total = 0;
  #failed = 0;
  #answered = 0;
  #latencySum = 0;

  constructor(service: ServiceNode, { config, connect, clock, random, onChange, onCheck }: ClusterNodeOptions) {
    this.service = service;
    this.#clock = clock;
    const { credentials } = config;
    this.pool = new ConnectionPool({ node: service, connect, credentials, idleTimeoutMs: config.connectionIdleTimeout, clock });
    const { circuitBreaker, healthCheck } = config;
    if (circuitBreaker.enabled) {
      const { failureThreshold, resetTimeout } = circuitBreaker;
      this.#breaker = new CircuitBreaker({ failureThreshold, resetTimeoutMs: resetTimeout, clock, onChange });
    }
    if (healthCheck.enabled) {
      this.#health = new HealthMonitor({
        intervalMs: healthCheck.interval,
        timeoutMs: healthCheck.timeout,
        healthyThreshold: healthCheck.healthyThreshold,
        unhealthyThreshold: healthCheck.unhealthyThreshold,
        clock,
        random,
        check: (signal) => this.#check(connect, config.credentials, signal),
        onCheck: (changed) => {
          onCheck();
          if (changed) onChange();
        },
      });
    }
  }

  get id(): string {
    return this.service.id;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether a request may be sent now. Before the first check a node counts as healthy. */
  get available(): boolean {
    return this.#health?.state !== 'unhealthy' && this.#breaker?.permits !== false;
  }

  get healthy(): boolean {
    return this.#health?.state !== 'unhealthy' && this.circuit?.state !== 'open';
  }

  get circuit(): CircuitSnapshot | undefined {
    return this.#breaker?.snapshot();
  }

  /** Resolves when the first health check is over. */
  start(): Promise<void> {
    return this.#health?.start() ?? Promise.resolve();
  }

  /** Counts a request in; the returned function counts it out. `undefined` when the circuit lets none pass. */
  begin(): ((outcome: NodeOutcome) => void) | undefined {
    let permit: CircuitPermit | undefined;
    if (this.#breaker !== undefined) {
      permit = this.#breaker.acquire();
      if (permit === undefined) return undefined;
    }
    this.#inFlight += 1;
    this.#total += 1;
    const startedAt = this.#clock.now();
    return (outcome) => {
      this.#inFlight -= 1;
      if (outcome === 'answered') {
        this.#answered += 1;
        this.#latencySum += this.#clock.now() - startedAt;
        permit?.success();
      } else if (outcome === 'failed') {
        this.#failed += 1;
        permit?.failure();
      } else {
        permit?.release();
      }
      if (this.#inFlight === 0) this.#onDrained();
    };
  }

  status(): NodeStatus {
    return {
      ...this.service,
      health: this.#health?.state ?? 'unknown',
      available: this.available,
      circuit: this.circuit?.state ?? 'closed',
      inFlight: this.#inFlight,
      totalRequests: this.#total,
      failedRequests: this.#failed,
      averageLatency: this.#answered === 0 ? 0 : this.#latencySum / this.#answered,
      connections: this.pool.size,
      ...(this.#health?.lastCheckAt === undefined ? {} : { lastHealthCheckAt: this.#health.lastCheckAt }),
      ...(this.#health?.lastError === undefined ? {} : { lastHealthError: this.#health.lastError }),
    };
  }

  /** Ends the checks at once and everything else when the last request in progress has ended. */
  async retire(): Promise<void> {
    this.#health?.stop();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onDrained = resolve));
    await this.close();
  }

  async close(): Promise<void> {
    this.#health?.stop();
    this.#breaker?.close();
    this.#onDrained();
    const probe = this.#probe;
    this.#probe = undefined;
    await Promise.all([this.pool.close(), probe?.then((upstream) => upstream.close()).catch(() => {})]);
  }

  /** Over a connection of its own, so that a check neither waits for callers nor keeps their connections open. */
  async #check(connect: Connect, credentials: ResolvedConfig['credentials'], signal: AbortSignal): Promise<void> {
    const known = await this.#probe;
    // A connection kept from before may have broken, or its credentials may be over, with the node in health.
    if (
      known !== undefined &&
      (await known.ping(signal).then(
        () => true,
        () => false,
      ))
    )
      return;
    this.#dropProbe();
    signal.throwIfAborted();
    const own = await mint(credentials, this.service, undefined);
    // Opening asks the node who it is, which is a check.
    this.#probe = connect(this.service, { headers: own?.headers ?? {}, signal });
    try {
      await this.#probe;
    } catch (error) {
      this.#dropProbe();
      throw error;
    }
  }

  #dropProbe(): void {
    this.#probe?.then((upstream) => upstream.close()).catch(() => {});
    this.#probe = undefined;
  }
}
