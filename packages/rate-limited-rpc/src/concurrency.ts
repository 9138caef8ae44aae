/** Counts calls in progress per key, in this process. A key that has none takes no memory. */
export class Concurrency {
  readonly #max: number;
  readonly #inProgress = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Calls of the key in progress. */
  used(key: string): number {
    return this.#inProgress.get(key) ?? 0;
  }

  hasRoom(key: string): boolean {
    return this.used(key) < this.#max;
  }

  enter(key: string): void {
    this.#inProgress.set(key, this.used(key) + 1);
  }

  leave(key: string): void {
    const left = this.used(key) - 1;
    if (left > 0) this.#inProgress.set(key, left);
    else this.#inProgress.delete(key);
  }
}
