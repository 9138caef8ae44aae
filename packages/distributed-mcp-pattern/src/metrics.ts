import type { Clock } from '@mcp-blocks/core';
import type { NodeStatus } from './cluster-node.js';

/** What `getClusterMetrics` tells. Times in milliseconds. */
export interface ClusterMetrics {
  readonly totalNodes: number;
  /** Nodes that checks have not found unhealthy, that are not ejected, and whose circuit is not open. */
  readonly healthyNodes: number;
  readonly ejectedNodes: number;
  /** Whether so few nodes are sound that health and ejections are disregarded. */
  readonly panic: boolean;
  /** Calls of `route`. */
  readonly totalRequests: number;
  /** Calls that a node answered with a result; a tool's `isError` is a result. */
  readonly successfulRequests: number;
  readonly failedRequests: number;
  /** Attempts on a further node. */
  readonly retries: number;
  /** Second requests sent while the first took long. */
  readonly hedges: number;
  /** Retries and hedges that the budget did not allow. */
  readonly retriesRefused: number;
  /** Mean duration of successful calls, retries included; 0 before the first. */
  readonly averageLatency: number;
  /** Times any node's circuit opened. */
  readonly circuitBreakerTrips: number;
  /** Times any node was ejected as an outlier. */
  readonly ejections: number;
  /** Finished calls per second over the last 10 seconds. */
  readonly throughput: number;
  readonly nodes: readonly NodeStatus[];
}

const WINDOW_SECONDS = 10;

/** Counts calls. */
export class CallCounter {
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #perSecond = new Map<number, number>();
  total = 0;
  successful = 0;
  failed = 0;
  retries = 0;
  hedges = 0;
  retriesRefused = 0;
  #latencySum = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  finish(startedAt: number, succeeded: boolean): void {
    const now = this.#clock.now();
    if (succeeded) {
      this.successful += 1;
      this.#latencySum += now - startedAt;
    } else {
      this.failed += 1;
    }
    const second = Math.floor(now / 1000);
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1);
    for (const old of this.#perSecond.keys()) if (old <= second - WINDOW_SECONDS) this.#perSecond.delete(old);
  }

  get averageLatency(): number {
    return this.successful === 0 ? 0 : this.#latencySum / this.successful;
  }

  get throughput(): number {
    const now = this.#clock.now();
    const oldest = Math.floor(now / 1000) - WINDOW_SECONDS;
    let finished = 0;
    for (const [second, count] of this.#perSecond) if (second > oldest) finished += count;
    return finished / Math.min(WINDOW_SECONDS, Math.max(1, (now - this.#startedAt) / 1000));
  }
}
