import type { Clock } from '@mcp-blocks/core';

/** Options of {@link LatencyAverage}. */
export interface LatencyAverageOptions {
  readonly clock: Clock;
  /** After this many milliseconds an observation counts for 1/e of what it did; above 0. Default: 10,000. */
  readonly decayMs?: number;
}

/**
 * A moving average of latencies that jumps to a peak at once and comes down slowly, as Finagle's Peak EWMA.
 * Without observations it fades, so that a node that was slow is tried again some day.
 */
export class LatencyAverage {
  readonly #clock: Clock;
  readonly #decayMs: number;
  #average = 0;
  #observedAt: number | undefined;

  constructor({ clock, decayMs = 10_000 }: LatencyAverageOptions) {
    this.#clock = clock;
    this.#decayMs = decayMs;
  }

  /** Milliseconds; `undefined` before the first observation. */
  get value(): number | undefined {
    return this.#observedAt === undefined ? undefined : this.#average * this.#kept(this.#observedAt);
  }

  /** Takes the time of a request that was answered. */
  observe(latencyMs: number): void {
    const old = this.#observedAt;
    const now = this.#clock.now();
    if (old === undefined || latencyMs >= this.#average) this.#average = latencyMs;
    else this.#average = latencyMs + (this.#average - latencyMs) * this.#kept(old);
    this.#observedAt = now;
  }

  /** Takes the time of one that failed: it may show the node slower, never faster. Failing is quick. */
  observeFailure(latencyMs: number): void {
    if (latencyMs > (this.value ?? 0)) this.observe(latencyMs);
  }

  #kept(observedAt: number): number {
    return Math.exp(-Math.max(0, this.#clock.now() - observedAt) / this.#decayMs);
  }
}
