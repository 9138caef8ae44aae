import type { LatencyPercentiles } from './latency-meter.js';

/** Counters and gauges of one client. Counters run from its construction; times in milliseconds. */
export interface MCPClientMetrics {
  /** Calls of `request` and the methods built on it. */
  readonly totalRequests: number;
  /** Calls that got a result, from the server or the cache. A tool's `isError` result is one. */
  readonly successfulRequests: number;
  readonly failedRequests: number;
  /** Calls answered without a trip of their own: from the cache, or by an identical call in progress. */
  readonly cachedResponses: number;
  /** Mean time from the call to the server's result, over successful calls that neither the cache nor an input handler answered. */
  readonly averageLatency: number;
  /** Requests sent and not yet answered. */
  readonly activeRequests: number;
  readonly queuedRequests: number;
  /** The part of `cachedResponses` that came from the cache. */
  readonly cacheHits: number;
  /** Connections made after the first one, moves between transports included. */
  readonly reconnects: number;
  /** Connections made over a transport that is not the preferred one. */
  readonly fallbacks: number;
  /** Times a request was sent again, for whatever reason. */
  readonly retries: number;
  /** Requests that failed and may have been carried out. */
  readonly ambiguousOutcomes: number;
  /** Times from sending to result of the last one to two thousand results the server gave, probes included. */
  readonly latencyPercentiles: LatencyPercentiles;
}

/** The part of the metrics that others than the {@link CallCounter} keep. */
type Gauges = Pick<MCPClientMetrics, 'activeRequests' | 'queuedRequests' | 'reconnects' | 'fallbacks' | 'latencyPercentiles'>;

/** Counts calls. The gauges are their owners' and passed in by {@link CallCounter.snapshot}. */
export class CallCounter {
  #total = 0;
  #succeeded = 0;
  #failed = 0;
  #cached = 0;
  #cacheHits = 0;
  #timed = 0;
  #latencySum = 0;
  #retries = 0;
  #ambiguous = 0;

  started(): void {
    this.#total += 1;
  }

  /** @param latencyMs - absent for a call answered without a trip of its own, or not by the server alone. */
  succeeded(latencyMs?: number): void {
    this.#succeeded += 1;
    if (latencyMs === undefined) return;
    this.#timed += 1;
    this.#latencySum += latencyMs;
  }

  failed(): void {
    this.#failed += 1;
  }

  retried(): void {
    this.#retries += 1;
  }

  ambiguous(): void {
    this.#ambiguous += 1;
  }

  shared(from: 'cache' | 'flight'): void {
    this.#cached += 1;
    if (from === 'cache') this.#cacheHits += 1;
  }

  snapshot(gauges: Gauges): MCPClientMetrics {
    return {
      totalRequests: this.#total,
      successfulRequests: this.#succeeded,
      failedRequests: this.#failed,
      cachedResponses: this.#cached,
      averageLatency: this.#timed === 0 ? 0 : this.#latencySum / this.#timed,
      cacheHits: this.#cacheHits,
      retries: this.#retries,
      ambiguousOutcomes: this.#ambiguous,
      ...gauges,
    };
  }
}
