import type { Clock } from '@mcp-blocks/core';

const WINDOW_SECONDS = 60;

/** Events per second over the last minute, or since the start if that is less. */
export class Throughput {
  readonly #clock: Clock;
  readonly #startedAt: number;
  /** Counts by second, and the second each one is of. */
  readonly #counts = new Array<number>(WINDOW_SECONDS).fill(0);
  readonly #seconds = new Array<number>(WINDOW_SECONDS).fill(-1);

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  /** @param now - epoch milliseconds. */
  record(now: number): void {
    const second = Math.floor(now / 1000);
    const slot = second % WINDOW_SECONDS;
    if (this.#seconds[slot] !== second) {
      this.#seconds[slot] = second;
      this.#counts[slot] = 0;
    }
    (this.#counts[slot] as number) += 1;
  }

  perSecond(): number {
    const now = this.#clock.now();
    const oldest = Math.floor(now / 1000) - WINDOW_SECONDS;
    const total = this.#counts.reduce((sum, count, slot) => ((this.#seconds[slot] as number) > oldest ? sum + count : sum), 0);
    return total / Math.min(WINDOW_SECONDS, Math.max(1, (now - this.#startedAt) / 1000));
  }
}
