import type { Clock } from '@mcp-blocks/core';
import type { Deadline } from './deadline.js';

/** Times in which one request waits for its caller's answers: they are not the node's. */
export class Pauses {
  readonly #clock: Clock;
  readonly #deadlines: readonly Deadline[];
  #open = 0;
  #since = 0;
  #endedMs = 0;

  /** @param deadlines - stand still meanwhile. */
  constructor(clock: Clock, deadlines: readonly Deadline[]) {
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  /** Milliseconds so far; several at a time count once. */
  get totalMs(): number {
    return this.#endedMs + (this.#open > 0 ? this.#clock.now() - this.#since : 0);
  }

  async during<T>(wait: () => Promise<T>): Promise<T> {
    const resume = this.#deadlines.map((deadline) => deadline.pause());
    if (this.#open === 0) this.#since = this.#clock.now();
    this.#open += 1;
    try {
      return await wait();
    } finally {
      this.#open -= 1;
      if (this.#open === 0) this.#endedMs += this.#clock.now() - this.#since;
      for (const go of resume) go();
    }
  }
}
