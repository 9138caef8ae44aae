/** Options of {@link RetryBudget}. */
export interface RetryBudgetOptions {
  /** Repeated requests in progress per call in progress that is not being repeated, 0 to 1. */
  readonly ratio: number;
  /** Repeated requests in progress that are allowed whatever the calls are; 0 or more. */
  readonly minConcurrent: number;
}

/** Gives a place in the budget back. Calling it again does nothing. */
export type LeaveBudget = () => void;

/** A sum of many small shares may fall short of a whole by the error of adding them. */
const NEARLY_ONE = 1 - 1e-6;

/**
 * Bounds what is sent again, by retries and by hedging, against what is in progress anyway, as Envoy's retry
 * budget: when every call fails, the nodes get little more than the calls. Where a retry takes less time than
 * a call, places in progress alone would let too many pass one after the other; so each also costs a whole
 * credit, of which every call brings a share, unless so little is in progress that `minConcurrent` decides.
 */
export class RetryBudget {
  readonly #options: RetryBudgetOptions;
  /** By when they came. */
  readonly #waiting = new Set<() => void>();
  #calls = 0;
  #repeats = 0;
  /** Never more than what is in progress has brought. */
  #credit = 0;

  constructor(options: RetryBudgetOptions) {
    this.#options = options;
  }

  /** Counts a call in; the returned function counts it out. */
  enter(): () => void {
    const { ratio } = this.#options;
    this.#calls += 1;
    this.#credit = Math.min(this.#credit + ratio, ratio * this.#calls);
    return once(() => (this.#calls -= 1));
  }

  /** Asks to send a request again; `undefined`: there is no place left. */
  take(): LeaveBudget | undefined {
    return this.#repeats < this.#limit && this.#pay() ? this.#place() : undefined;
  }

  /**
   * The same, but costs no credit, and waits for a place; first come, first served. Resolves with `undefined` when there is none to
   * wait for, rejects with the signal's reason when it aborts first.
   */
  wait(signal: AbortSignal): Promise<LeaveBudget | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      // Without anything in progress, nobody would ever give a place back.
      if (this.#repeats < this.#limit) return resolve(this.#place());
      if (this.#repeats === 0) return resolve(undefined);
      const onAbort = () => {
        this.#waiting.delete(wake);
        reject(signal.reason as Error);
      };
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', onAbort);
        resolve(this.#place());
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  get #limit(): number {
    const { ratio, minConcurrent } = this.#options;
    // A repeated request must not make room for further ones: in an outage a ratio of 0.2 would come to 0.25.
    return Math.max(minConcurrent, Math.floor(ratio * (this.#calls - this.#repeats)));
  }

  #pay(): boolean {
    if (this.#limit <= this.#options.minConcurrent) return true;
    if (this.#credit < NEARLY_ONE) return false;
    this.#credit -= 1;
    return true;
  }

  #place(): LeaveBudget {
    this.#repeats += 1;
    return once(() => {
      this.#repeats -= 1;
      // The last to leave lets one in also where the limit has sunk to nothing: else it would wait for ever.
      const [next] = this.#waiting;
      if (next !== undefined && (this.#repeats < this.#limit || this.#repeats === 0)) next();
    });
  }
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}
