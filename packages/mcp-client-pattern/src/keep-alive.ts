/** Longest delay a timer takes. */
const FOREVER_MS = 2_147_483_647;

/**
 * Keeps a Node process running while somebody waits for an answer. The clock's timers do not, and between
 * two attempts to connect there is no socket either: a program awaiting a call would end in silence.
 */
export class KeepAlive {
  #waiting = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  async during<T>(work: Promise<T>): Promise<T> {
    this.#waiting += 1;
    this.#timer ??= setInterval(() => {}, FOREVER_MS);
    try {
      return await work;
    } finally {
      this.#waiting -= 1;
      if (this.#waiting === 0) {
        clearInterval(this.#timer);
        this.#timer = undefined;
      }
    }
  }
}
