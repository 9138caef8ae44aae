import { type Clock, isRpcError, type RpcResult } from '@mcp-blocks/core';
import type { CachePartitions } from './cache-partitions.js';
import type { RequestOptions } from './config.js';
import { copyJson } from './json-copy.js';
import type { CallCounter } from './metrics.js';
import type { Delivery } from './request-scheduler.js';
import type { CacheableRequest, ResponseCache } from './response-cache.js';
import { SingleFlight, type Work } from './single-flight.js';

/** Failures that are not the server's answer to the request: a stale result may be better than none. */
const STALE_IF: ReadonlySet<string> = new Set(['unavailable', 'timeout', 'upstream_error', 'internal_error']);

/** Options of {@link CachedRequests}. */
export interface CachedRequestsOptions {
  readonly cache: ResponseCache;
  readonly calls: CallCounter;
  readonly clock: Clock;
  readonly partitions: CachePartitions;
}

/** Answers requests whose results may be cached: from the cache, by an identical one in progress, or by sending them. */
export class CachedRequests {
  readonly #options: CachedRequestsOptions;
  readonly #flights: SingleFlight<Delivery>;

  constructor(options: CachedRequestsOptions) {
    this.#options = options;
    this.#flights = new SingleFlight(options.clock);
  }

  /** A fresh result from the cache, if there is one. */
  get(request: CacheableRequest): RpcResult | undefined {
    const { cache, calls, partitions } = this.#options;
    const cached = cache.get(request, partitions.current);
    if (cached === undefined) return undefined;
    calls.shared('cache');
    calls.succeeded();
    return cached;
  }

  /** @param send - given the signal that ends it when nobody waits any longer, and told to hold the time of those who do. */
  async fetch(request: CacheableRequest, options: RequestOptions, timeoutMs: number, send: Work<Delivery>): Promise<RpcResult> {
    const { cache, calls, clock, partitions } = this.#options;
    const startedAt = clock.now();
    const generation = cache.generation(request.method);
    const waiter = { timeoutMs, signal: options.signal, what: request.method };
    const asked = partitions.current;
    // Requests of two people are not one.
    const key = `${asked?.length ?? '-'}:${asked ?? ''} ${request.key}`;
    try {
      const { value, joined } = await this.#flights.run(key, generation, waiter, send);
      calls.succeeded(joined || value.answer.interactive ? undefined : clock.now() - startedAt);
      if (joined) {
        calls.shared('flight');
        return copyJson(value.answer.result);
      }
      const owner = partitions.of(value.connection);
      const { answer } = value;
      if (!answer.interactive && owner !== undefined) cache.set(request, owner, answer.result, answer.era, options, generation);
      return answer.result;
    } catch (error) {
      const stale = isRpcError(error) && STALE_IF.has(error.code) ? cache.getStale(request, partitions.current) : undefined;
      if (stale === undefined) throw error;
      calls.shared('cache');
      calls.succeeded();
      return stale;
    }
  }
}
