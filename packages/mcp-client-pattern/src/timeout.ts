import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** Time that runs out, but not while it is held. */
export class Timeout {
  readonly #clock: Clock;
  readonly #onTimeout: () => void;
  #holds = 0;
  /** Epoch milliseconds; while it is held, the milliseconds that were left. */
  #endsAt: number;
  #cancelTimer: CancelTimer | undefined;

  constructor(clock: Clock, timeoutMs: number, onTimeout: () => void) {
    this.#clock = clock;
    this.#onTimeout = onTimeout;
    this.#endsAt = clock.now() + timeoutMs;
    this.#cancelTimer = clock.setTimeout(onTimeout, timeoutMs);
  }

  get leftMs(): number {
    return this.#holds > 0 ? this.#endsAt : this.#endsAt - this.#clock.now();
  }

  /** Holds it, or lets it go on: after as many calls for the one as for the other. */
  hold(isHeld: boolean): void {
    this.#holds += isHeld ? 1 : -1;
    if (this.#holds !== (isHeld ? 1 : 0) || this.#cancelTimer === undefined) return;
    if (isHeld) {
      this.#cancelTimer();
      this.#endsAt -= this.#clock.now();
      return;
    }
    const leftMs = Math.max(0, this.#endsAt);
    this.#endsAt = this.#clock.now() + leftMs;
    this.#cancelTimer = this.#clock.setTimeout(this.#onTimeout, leftMs);
  }

  cancel(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
