/** Milliseconds of work for peers in one turn of the event loop; then others come first: timers, other sockets, new clients. */
const MAX_TURN_MS = 1;

/** Does one thing of what somebody has to do; true while there is more. */
export type Step = () => boolean;

/**
 * Divides the time of the event loop: whoever has much to be done gets it done a little in each turn, one after
 * the other, so that nobody waits for more than a little of it.
 */
export class TurnShare {
  readonly #waiting: Step[] = [];
  #startedAt: number | undefined;
  #turn = 0;
  #isRunning = false;

  /** A number for the present turn. */
  get turn(): number {
    this.#begin();
    return this.#turn;
  }

  /** Whether the present turn has taken its time, what it set off included. */
  get isOver(): boolean {
    return performance.now() - this.#begin() > MAX_TURN_MS;
  }

  /** Does something now, or when the present turn's time is up in a later one. */
  do(task: () => void): void {
    if (!this.isOver) {
      task();
      return;
    }
    this.wait(() => {
      task();
      return false;
    });
  }

  /** Takes steps as time allows, in turn with the others that wait. */
  wait(step: Step): void {
    this.#waiting.push(step);
    if (this.#isRunning) return;
    this.#isRunning = true;
    setImmediate(this.#run);
  }

  #begin(): number {
    if (this.#startedAt !== undefined) return this.#startedAt;
    this.#startedAt = performance.now();
    setImmediate(() => {
      this.#startedAt = undefined;
      this.#turn += 1;
    });
    return this.#startedAt;
  }

  readonly #run = () => {
    const step = this.#waiting.shift();
    if (step?.()) this.#waiting.push(step);
    if (this.#waiting.length === 0) this.#isRunning = false;
    else if (this.isOver) setImmediate(this.#run);
    // What the step has set off comes first, and its time counts.
    else queueMicrotask(() => process.nextTick(this.#run));
  };
}

/** There is one event loop, whatever number of listeners. */
export const turnShare = new TurnShare();
