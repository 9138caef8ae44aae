/** Options of {@link Bulkhead}. */
export interface BulkheadOptions {
  /** Most requests in progress; 1 or more. */
  readonly maxConcurrent: number;
  /** Most requests that wait for a place; 0 or more. */
  readonly maxQueue: number;
}

/** The places for requests on one node, so that a slow one cannot tie up everything. Waiting is first come, first served. */
export class Bulkhead {
  readonly #options: BulkheadOptions;
  /** By when they came. */
  readonly #waiting = new Set<(entered: boolean) => void>();
  #taken = 0;

  constructor(options: BulkheadOptions) {
    this.#options = options;
  }

  get hasRoom(): boolean {
    return this.#taken < this.#options.maxConcurrent;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /** Takes a place, if there is one. */
  enter(): boolean {
    if (!this.hasRoom) return false;
    this.#taken += 1;
    return true;
  }

  /**
   * Waits for a place and takes it. Resolves with false when the queue is full or was dissolved.
   * Rejects with the signal's reason when it aborts first.
   */
  wait(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.enter()) return resolve(true);
      if (this.#waiting.size >= this.#options.maxQueue) return resolve(false);
      const onAbort = () => {
        this.#waiting.delete(wake);
        reject(signal.reason as Error);
      };
      const wake = (entered: boolean) => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', onAbort);
        resolve(entered);
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a place back: to who waits for longest, if anybody does. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken -= 1;
    else next(true);
  }

  /** Sends away all who wait. */
  dissolve(): void {
    for (const wake of [...this.#waiting]) wake(false);
  }
}
