/** Counters and gauges of one client. Counters run from its construction; times in milliseconds. */
export interface MCPClientMetrics {
  /** Calls of `request` and the methods built on it. */
  readonly totalRequests: number;
  /** Calls that got a result, from the server or the cache. A tool's `isError` result is one. */
  readonly successfulRequests: number;
  readonly failedRequests: number;
  /** Calls answered without a trip of their own: from the cache, or by an identical call in progress. */
  readonly cachedResponses: number;
  /** Mean time from the call to the server's result, over successful calls not answered from the cache. */
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
}

/** Counts calls. The gauges are their owners' and passed in by {@link CallCounter.snapshot}. */
export class CallCounter {
  #total = 0;
  #succeeded = 0;
  #failed = 0;
  #cached = 0;
  #cacheHits = 0;
  #timed = 0;
  #latencySum = 0;

  started(): void {
    this.#total += 1;
  }

  /** @param latencyMs - absent for a call answered without a trip of its own. */
  succeeded(latencyMs?: number): void {
    this.#succeeded += 1;
    if (latencyMs === undefined) return;
    this.#timed += 1;
    this.#latencySum += latencyMs;
  }

  failed(): void {
    this.#failed += 1;
  }

  shared(from: 'cache' | 'flight'): void {
    this.#cached += 1;
    if (from === 'cache') this.#cacheHits += 1;
  }

  snapshot(gauges: Pick<MCPClientMetrics, 'activeRequests' | 'queuedRequests' | 'reconnects' | 'fallbacks'>): MCPClientMetrics {
    return {
      totalRequests: this.#total,
      successfulRequests: this.#succeeded,
      failedRequests: this.#failed,
      cachedResponses: this.#cached,
      averageLatency: this.#timed === 0 ? 0 : this.#latencySum / this.#timed,
      cacheHits: this.#cacheHits,
      ...gauges,
    };
  }
}

/** Share of the newest sample: about the last ten count. */
const EWMA_WEIGHT = 0.2;

/** An exponentially weighted moving average of round trips. */
export class LatencyMeter {
  #value: number | null = null;

  /** Milliseconds; `null` before the first sample. */
  get value(): number | null {
    return this.#value;
  }

  record(latencyMs: number): void {
    this.#value = this.#value === null ? latencyMs : this.#value + EWMA_WEIGHT * (latencyMs - this.#value);
  }
}
