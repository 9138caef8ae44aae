/** How long recent answers took, in milliseconds; percentiles are within a tenth of the truth. All 0 before the first. */
export interface LatencyPercentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Share of the newest sample in the moving average: about the last ten count. */
const EWMA_WEIGHT = 0.2;

const FACTOR = 1.1;
const LOG_FACTOR = Math.log(FACTOR);

/** 1.1^240 ms is longer than any timer. */
const BUCKETS = 241;

/** Percentiles are of the last one to two windows of this many answers. */
const WINDOW = 1000;

/** Measures round trips in bounded memory: a moving average, and the percentiles of the last one to two thousand. */
export class LatencyMeter {
  #average: number | null = null;
  /** Bucket 0 is everything under a millisecond; bucket n ends at 1.1^n ms. */
  #current = new Uint32Array(BUCKETS);
  #previous = new Uint32Array(BUCKETS);
  #count = 0;
  #fastest = Number.POSITIVE_INFINITY;
  #fastestBefore = Number.POSITIVE_INFINITY;

  /** Milliseconds; `null` before the first sample. */
  get average(): number | null {
    return this.#average;
  }

  /** The shortest round trip lately; 0 before the first. */
  get fastest(): number {
    const fastest = Math.min(this.#fastest, this.#fastestBefore);
    return fastest === Number.POSITIVE_INFINITY ? 0 : fastest;
  }

  record(roundTripMs: number): void {
    // A clock set back is no reason to measure less than nothing.
    const latencyMs = Math.max(0, roundTripMs);
    this.#average = this.#average === null ? latencyMs : this.#average + EWMA_WEIGHT * (latencyMs - this.#average);
    const bucket = latencyMs < 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log(latencyMs) / LOG_FACTOR) + 1);
    this.#current[bucket] = (this.#current[bucket] as number) + 1;
    this.#fastest = Math.min(this.#fastest, latencyMs);
    this.#count += 1;
    if (this.#count < WINDOW) return;
    [this.#previous, this.#current] = [this.#current, this.#previous.fill(0)];
    this.#fastestBefore = this.#fastest;
    this.#fastest = Number.POSITIVE_INFINITY;
    this.#count = 0;
  }

  percentiles(): LatencyPercentiles {
    const counts = this.#current.map((count, bucket) => count + (this.#previous[bucket] as number));
    const total = counts.reduce((sum, count) => sum + count, 0);
    const at = (share: number) => {
      if (total === 0) return 0;
      const rank = Math.ceil(total * share);
      let seen = 0;
      const bucket = counts.findIndex((count) => (seen += count) >= rank);
      // The middle of the bucket; what is under a millisecond counts as nothing.
      return bucket === 0 ? 0 : FACTOR ** (bucket - 0.5);
    };
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  }
}
