/** Who called within the last `windowMs`, counted exactly up to `max` and not beyond. */
export class RecentClients {
  readonly #windowMs: number;
  readonly #max: number;
  readonly #now: () => number;
  /** When each was last seen, oldest first. */
  readonly #seen = new Map<string, number>();

  constructor(windowMs: number, max: number, now: () => number) {
    this.#windowMs = windowMs;
    this.#max = max;
    this.#now = now;
  }

  note(key: string): void {
    this.#seen.delete(key);
    this.#prune();
    if (this.#seen.size < this.#max) this.#seen.set(key, this.#now());
  }

  get count(): number {
    this.#prune();
    return this.#seen.size;
  }

  clear(): void {
    this.#seen.clear();
  }

  #prune(): void {
    const oldest = this.#now() - this.#windowMs;
    for (const [key, time] of this.#seen) {
      if (time > oldest) return;
      this.#seen.delete(key);
    }
  }
}
