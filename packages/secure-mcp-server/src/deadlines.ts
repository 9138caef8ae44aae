import type { CancelTimer, Clock } from '@mcp-blocks/core';

interface Deadline {
  readonly time: number;
  readonly expire: () => void;
}

/** Any number of deadlines, each the same time after it was started, with one timer between them. */
export class Deadlines {
  readonly #delayMs: number;
  readonly #clock: Clock;
  /** All wait equally long, so the first one started is the first one over. */
  readonly #open = new Set<Deadline>();
  #cancelTimer: CancelTimer | undefined;

  constructor(delayMs: number, clock: Clock) {
    this.#delayMs = delayMs;
    this.#clock = clock;
  }

  /** Calls `expire` once, after the delay. Returns what ends the wait. */
  start(expire: () => void): CancelTimer {
    const deadline = { time: this.#clock.now() + this.#delayMs, expire };
    this.#open.add(deadline);
    if (this.#cancelTimer === undefined) this.#arm(this.#delayMs);
    return () => {
      this.#open.delete(deadline);
      if (this.#open.size > 0) return;
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
    };
  }

  #arm(delayMs: number): void {
    this.#cancelTimer = this.#clock.setTimeout(() => {
      this.#cancelTimer = undefined;
      this.#expire();
    }, delayMs);
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const deadline of this.#open) {
      // After the clock went back they would wait for longer than they were to.
      const leftMs = Math.min(deadline.time - now, this.#delayMs);
      if (leftMs > 0) {
        if (this.#cancelTimer === undefined) this.#arm(leftMs);
        return;
      }
      this.#open.delete(deadline);
      deadline.expire();
    }
  }
}
