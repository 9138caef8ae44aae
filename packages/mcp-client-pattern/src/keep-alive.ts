/** Longest delay a timer takes. */
const FOREVER_MS = 2_147_483_647;

/**
 * Keeps a Node process running while somebody waits for an answer. The clock's timers do not, and between
 * two attempts to connect there is no socket either: a program awaiting a call would end in silence.
 */
export class KeepAlive {
  #waiting = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  /** Somebody begins to wait. */
  begin(): void {
    this.#waiting += 1;
    if (this.#waiting > 1) return;
    // One timer, held and let go: to make one for each wait would cost more than the rest.
    if (this.#timer === undefined) this.#timer = setInterval(() => {}, FOREVER_MS);
    else if (isNodeTimer(this.#timer)) this.#timer.ref();
  }

  end(): void {
    this.#waiting -= 1;
    if (this.#waiting > 0) return;
    // A page's timers cannot be let go.
    if (isNodeTimer(this.#timer) && !this.#isClosed) this.#timer.unref();
    else this.#clear();
  }

  async during<T>(work: Promise<T>): Promise<T> {
    this.begin();
    try {
      return await work;
    } finally {
      this.end();
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#waiting === 0) this.#clear();
  }

  #clear(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function isNodeTimer(timer: unknown): timer is { ref(): void; unref(): void } {
  return typeof timer === 'object' && timer !== null && 'unref' in timer;
}
