import type { Clock } from './clock.js';

/** Share of calls, and calls per second, that may be repeated. */
export interface RetryBudgetOptions {
  /** Retries per call, 0 to 1. Default: 0.2. */
  readonly ratio?: number;
  /** Retries per second whatever the calls are; 0 to 1,000. Default: 3. */
  readonly minPerSecond?: number;
}

const SPAN_SECONDS = 10;

/**
 * Bounds retries by what was called in the last ten seconds, so that a server in trouble gets little more
 * than the calls it gets anyway: at most `ratio · calls + minPerSecond · 10` of them.
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #minPerSecond: number;
  readonly #clock: Clock;
  /** By second, oldest first. */
  readonly #seconds = new Map<number, { calls: number; retries: number }>();

  constructor({ ratio = 0.2, minPerSecond = 3 }: RetryBudgetOptions, clock: Clock) {
    this.#ratio = ratio;
    this.#minPerSecond = minPerSecond;
    this.#clock = clock;
  }

  /** Counts a call, not its retries. */
  noteCall(): void {
    this.#current().calls += 1;
  }

  /** Takes one retry, if there is one left. */
  takeRetry(): boolean {
    const current = this.#current();
    let calls = 0;
    let retries = 0;
    for (const second of this.#seconds.values()) {
      calls += second.calls;
      retries += second.retries;
    }
    if (retries + 1 > this.#ratio * calls + this.#minPerSecond * SPAN_SECONDS) return false;
    current.retries += 1;
    return true;
  }

  #current(): { calls: number; retries: number } {
    const now = Math.floor(this.#clock.now() / 1000);
    for (const second of this.#seconds.keys()) if (second <= now - SPAN_SECONDS || second > now) this.#seconds.delete(second);
    const current = this.#seconds.get(now) ?? { calls: 0, retries: 0 };
    this.#seconds.set(now, current);
    return current;
  }
}
