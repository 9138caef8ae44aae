/** How long requests took: percentiles are within a tenth of the truth. */
export interface LatencySummary {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

const FACTOR = 1.1;

/** Counts durations in buckets that grow by a tenth, so that its size does not grow with what it has seen. */
export class LatencyHistogram {
  /** Bucket 0 is everything under a millisecond; bucket n ends at 1.1^n ms. */
  readonly #buckets: number[] = [];
  #count = 0;
  #max = 0;

  record(durationMs: number): void {
    const index = durationMs < 1 ? 0 : Math.floor(Math.log(durationMs) / Math.log(FACTOR)) + 1;
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#count += 1;
    this.#max = Math.max(this.#max, durationMs);
  }

  /** Milliseconds; all 0 while nothing was recorded. */
  summary(): LatencySummary {
    return { p50: this.#percentile(0.5), p95: this.#percentile(0.95), p99: this.#percentile(0.99), max: this.#max };
  }

  #percentile(share: number): number {
    const rank = Math.ceil(this.#count * share);
    let seen = 0;
    for (const [index, count] of this.#buckets.entries()) {
      seen += count ?? 0;
      // The upper end of the bucket, as long as something that long was seen.
      if (seen >= rank && seen > 0) return Math.min(FACTOR ** index, this.#max);
    }
    return 0;
  }
}
