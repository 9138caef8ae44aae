import type { Clock, Random, ServiceNode } from '@mcp-blocks/core';
import type { Candidate } from './balancing/balancer.js';
import { CircuitBreaker, type CircuitPermit, type CircuitSnapshot, type CircuitState } from './circuit-breaker.js';
import type { ResolvedConfig } from './config.js';
import { HealthMonitor, type HealthState } from './health-monitor.js';
import { HealthProbe } from './health-probe.js';
import { Bulkhead } from './resilience/bulkhead.js';
import { LatencyAverage } from './resilience/latency-average.js';
import type { OutlierWatch } from './resilience/outlier-detector.js';
import { SlowStart } from './resilience/slow-start.js';
import { ConnectionPool } from './upstream/connection-pool.js';
import type { Connect } from './upstream/upstream.js';

/** What the cluster tells about one of its nodes. */
export interface NodeStatus extends ServiceNode {
  readonly health: HealthState;
  /** Whether requests are sent to it now, outside of a panic. */
  readonly available: boolean;
  readonly circuit: CircuitSnapshot['state'];
  /** Requests in progress. */
  readonly inFlight: number;
  /** Requests that wait for a place. */
  readonly queued: number;
  readonly totalRequests: number;
  /** Requests the node did not answer, or answered with a server failure. */
  readonly failedRequests: number;
  /** Mean milliseconds of the requests that were answered; 0 before the first. */
  readonly averageLatency: number;
  /** The same, quick to rise, slow to fall, and fading: what `peak-ewma` goes by. Absent before the first. */
  readonly ewmaLatency?: number;
  /** The share of its part of the traffic it gets now: less than 1 while it starts slowly or is degraded. */
  readonly share: number;
  readonly ejected: boolean;
  /** Times it was ejected as an outlier. */
  readonly ejections: number;
  /** Epoch milliseconds; while ejected. */
  readonly ejectedUntil?: number;
  /** Times its circuit has opened. */
  readonly circuitTrips: number;
  /** Open connections, one per identity. */
  readonly connections: number;
  /** Epoch milliseconds of the last health check. */
  readonly lastHealthCheckAt?: number;
  readonly lastHealthError?: string;
}

/**
 * How one request to a node ended: it answered, if only with an error; it failed on its own (5xx); it gave
 * no answer (no connection, 502 to 504, `unavailable`, timeout); or the request was given up.
 */
export type NodeOutcome = 'answered' | 'server-error' | 'no-answer' | 'abandoned';

/** What {@link ClusterNode} works with. */
export interface ClusterNodeOptions {
  readonly config: ResolvedConfig;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly random: Random;
  /** Its place in the outlier detection; absent where that is off. */
  readonly outlier: OutlierWatch | undefined;
  /** Told when whether it can take requests may have changed. */
  readonly onChange: () => void;
  /** Told after each health check. */
  readonly onCheck: () => void;
  readonly onCircuit: (from: CircuitState, to: CircuitState) => void;
  readonly onHealth: (from: HealthState, to: HealthState, error: string | undefined) => void;
}

/** What a degraded node gets of its part. */
const DEGRADED_SHARE = 0.1;

/** One node with everything the cluster knows of it and holds open to it. */
export class ClusterNode implements Candidate {
  readonly pool: ConnectionPool;
  readonly bulkhead: Bulkhead;
  readonly #outlier: OutlierWatch | undefined;
  readonly #breaker: CircuitBreaker | undefined;
  readonly #health: HealthMonitor | undefined;
  readonly #probe: HealthProbe;
  readonly #slowStart: SlowStart | undefined;
  readonly #latency: LatencyAverage;
  readonly #clock: Clock;
  #service: ServiceNode;
  #onDrained: () => void = () => {};
  #inFlight = 0;
  #total = 0;
  #failed = 0;
  #answered = 0;
  #latencySum = 0;
  #pausedUntil = 0;

  constructor(service: ServiceNode, options: ClusterNodeOptions) {
    const { config, connect, clock, random, onChange, outlier } = options;
    this.#service = service;
    const node = () => this.#service;
    this.#clock = clock;
    this.#outlier = outlier;
    this.#latency = new LatencyAverage({ clock });
    this.bulkhead = new Bulkhead(config.bulkheadConfig);
    const { credentials, circuitBreaker, healthCheck, slowStartConfig: slowStart } = config;
    this.pool = new ConnectionPool({ node, connect, credentials, idleTimeoutMs: config.connectionIdleTimeout, clock });
    this.#probe = new HealthProbe({ node, connect, credentials });
    if (slowStart.enabled) {
      const { window, minShare, aggression } = slowStart;
      this.#slowStart = new SlowStart({ windowMs: window, minShare, aggression, clock });
    }
    if (circuitBreaker.enabled) {
      const { failureThreshold, resetTimeout } = circuitBreaker;
      const onTransition = (from: CircuitState, to: CircuitState) => {
        // The probe that closes it is the success that starts the growth.
        if (to === 'closed') this.startSlowly();
        options.onCircuit(from, to);
      };
      this.#breaker = new CircuitBreaker({ failureThreshold, resetTimeoutMs: resetTimeout, clock, onChange, onTransition });
    }
    if (healthCheck.enabled) this.#health = this.#monitor(options, healthCheck, random);
  }

  /** Discovery's entry. */
  get service(): ServiceNode {
    return this.#service;
  }

  get id(): string {
    return this.service.id;
  }

  get weight(): number | undefined {
    return this.service.weight;
  }

  get region(): string | undefined {
    return this.service.region;
  }

  get version(): string | undefined {
    return this.service.version;
  }

  get metadata(): Readonly<Record<string, string>> | undefined {
    return this.service.metadata;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get latencyMs(): number | undefined {
    return this.#latency.value;
  }

  get share(): number {
    return (this.#slowStart?.share ?? 1) * (this.#health?.state === 'degraded' ? DEGRADED_SHARE : 1);
  }

  /** Neither unhealthy nor ejected. Before the first check a node counts as healthy. */
  get sound(): boolean {
    return this.#health?.state !== 'unhealthy' && !this.ejected;
  }

  /** Whether its circuit lets a request pass. */
  get permits(): boolean {
    return this.#breaker?.permits !== false;
  }

  get healthy(): boolean {
    return this.sound && this.circuit?.state !== 'open';
  }

  get circuit(): CircuitSnapshot | undefined {
    return this.#breaker?.snapshot();
  }

  get ejected(): boolean {
    return this.#outlier?.ejected === true;
  }

  /** Times it was ejected. */
  get ejections(): number {
    return this.#outlier?.ejections ?? 0;
  }

  /** Whether the node has asked not to be sent anything for now. */
  get paused(): boolean {
    return this.#pausedUntil > this.#clock.now();
  }

  /** Takes over what discovery says of the same node now: another weight, region, version, metadata. */
  describe(service: ServiceNode): void {
    this.#service = service;
  }

  /** Resolves when the first health check is over. */
  start(): Promise<void> {
    return this.#health?.start() ?? Promise.resolve();
  }

  /** From now on it gets its part of the traffic step by step. */
  startSlowly(): void {
    this.#slowStart?.restart();
  }

  /** Takes the node's word that it wants no requests for this many milliseconds. */
  pause(delayMs: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + delayMs);
  }

  /**
   * Counts a request in that has a place in the bulkhead; the returned function counts it out, without the
   * milliseconds it waited for its caller's answers, and gives the place back. `undefined` when the circuit lets none pass; the place is given back then.
   */
  begin(): ((outcome: NodeOutcome, waitedMs?: number) => void) | undefined {
    let permit: CircuitPermit | undefined;
    if (this.#breaker !== undefined) {
      permit = this.#breaker.acquire();
      if (permit === undefined) {
        this.bulkhead.leave();
        return undefined;
      }
    }
    this.#inFlight += 1;
    this.#total += 1;
    const startedAt = this.#clock.now();
    return (outcome, waitedMs = 0) => {
      this.#inFlight -= 1;
      this.bulkhead.leave();
      this.#learn(outcome, this.#clock.now() - startedAt - waitedMs, permit);
      if (this.#inFlight === 0) this.#onDrained();
    };
  }

  status(): NodeStatus {
    const { ejectedUntil } = this.#outlier ?? {};
    const circuit = this.circuit;
    return {
      ...this.service,
      health: this.#health?.state ?? 'unknown',
      available: this.sound && this.permits,
      circuit: circuit?.state ?? 'closed',
      inFlight: this.#inFlight,
      queued: this.bulkhead.queued,
      totalRequests: this.#total,
      failedRequests: this.#failed,
      averageLatency: this.#answered === 0 ? 0 : this.#latencySum / this.#answered,
      ...(this.latencyMs === undefined ? {} : { ewmaLatency: this.latencyMs }),
      share: this.share,
      ejected: ejectedUntil !== undefined,
      ejections: this.ejections,
      ...(ejectedUntil === undefined ? {} : { ejectedUntil }),
      circuitTrips: circuit?.trips ?? 0,
      connections: this.pool.size,
      ...(this.#health?.lastCheckAt === undefined ? {} : { lastHealthCheckAt: this.#health.lastCheckAt }),
      ...(this.#health?.lastError === undefined ? {} : { lastHealthError: this.#health.lastError }),
    };
  }

  /** Ends the checks at once and everything else when the last request in progress has ended. */
  async retire(): Promise<void> {
    this.#leave();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onDrained = resolve));
    await this.close();
  }

  async close(): Promise<void> {
    this.#leave();
    this.#breaker?.close();
    this.#onDrained();
    await Promise.all([this.pool.close(), this.#probe.close()]);
  }

  /** Who waits for a place goes to another node. */
  #leave(): void {
    this.#health?.stop();
    this.#outlier?.end();
    this.bulkhead.dissolve();
  }

  #learn(outcome: NodeOutcome, latencyMs: number, permit: CircuitPermit | undefined): void {
    switch (outcome) {
      case 'answered':
        this.#answered += 1;
        this.#latencySum += latencyMs;
        this.#latency.observe(latencyMs);
        this.#outlier?.record('success');
        permit?.success();
        this.#slowStart?.succeeded();
        return;
      case 'abandoned':
        // It took at least as long.
        this.#latency.observeFailure(latencyMs);
        permit?.release();
        return;
      default:
        this.#failed += 1;
        this.#latency.observeFailure(latencyMs);
        permit?.failure();
        this.#outlier?.record(outcome === 'server-error' ? 'server-error' : 'gateway-failure');
    }
  }

  #monitor(options: ClusterNodeOptions, healthCheck: ResolvedConfig['healthCheck'], random: Random): HealthMonitor {
    const { interval, timeout, healthyThreshold, unhealthyThreshold, degradedLatency } = healthCheck;
    const monitor = new HealthMonitor({
      intervalMs: interval,
      timeoutMs: timeout,
      healthyThreshold,
      unhealthyThreshold,
      ...(degradedLatency === undefined ? {} : { degradedLatencyMs: degradedLatency }),
      clock: this.#clock,
      random,
      check: (signal) => this.#probe.check(signal),
      onCheck: (before, passed) => {
        const { state, lastError } = monitor;
        if (passed) this.#outlier?.checkPassed();
        if (before === 'unhealthy' && state !== 'unhealthy') this.startSlowly();
        options.onCheck();
        if (state === before) return;
        options.onHealth(before, state, lastError);
        options.onChange();
      },
    });
    return monitor;
  }
}
