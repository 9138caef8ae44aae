import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** Aborts its signal after a time in which it was not paused. */
export class Deadline {
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #reason: () => Error;
  #leftMs: number;
  #startedAt = 0;
  #pauses = 0;
  #cancelTimer: CancelTimer | undefined;

  constructor(clock: Clock, timeoutMs: number, reason: () => Error) {
    this.#clock = clock;
    this.#leftMs = timeoutMs;
    this.#reason = reason;
    this.#run();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Stops the time until the returned function is called; the last of several counts. */
  pause(): () => void {
    this.#pauses += 1;
    if (this.#pauses === 1 && this.#cancelTimer !== undefined) {
      this.#stop();
      this.#leftMs -= this.#clock.now() - this.#startedAt;
    }
    let paused = true;
    return () => {
      if (!paused) return;
      paused = false;
      this.#pauses -= 1;
      if (this.#pauses === 0 && this.#leftMs >= 0) this.#run();
    };
  }

  /** Ends it for good. */
  end(): void {
    this.#stop();
    this.#leftMs = -1;
  }

  #stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #run(): void {
    this.#startedAt = this.#clock.now();
    this.#cancelTimer = this.#clock.setTimeout(() => {
      this.#cancelTimer = undefined;
      this.#abort.abort(this.#reason());
    }, this.#leftMs);
  }
}
