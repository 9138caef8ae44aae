const OVERFLOW = 'overflow';

/**
 * One state per key for at most `maxKeys` keys, and one shared state for all keys beyond. A state is kept
 * for `lifetimeMs` after it was last set.
 */
export class KeyTable<State> {
  readonly #maxKeys: number;
  readonly #lifetimeMs: number;
  readonly #now: () => number;
  /** Setting moves a key to the end and all live equally long, so the oldest come first. */
  readonly #entries = new Map<string, { readonly state: State; readonly expiresAt: number }>();
  /** Before this nothing is over. */
  #pruneAt = 0;
  #shared: { readonly state: State; readonly expiresAt: number } | undefined;

  constructor(maxKeys: number, lifetimeMs: number, now: () => number) {
    this.#maxKeys = maxKeys;
    this.#lifetimeMs = lifetimeMs;
    this.#now = now;
  }

  /** Where the key's state is kept: a name of its own, or the shared one. */
  slot(key: string): string {
    const now = this.#now();
    if (now >= this.#pruneAt) this.#prune(now);
    if (this.#shared !== undefined && this.#shared.expiresAt <= now) this.#shared = undefined;
    // Prefixed, so that no key is the shared slot's name.
    const slot = `:${key}`;
    return this.#entries.has(slot) || this.#entries.size < this.#maxKeys ? slot : OVERFLOW;
  }

  #prune(now: number): void {
    this.#pruneAt = now + this.#lifetimeMs;
    for (const [slot, { expiresAt }] of this.#entries) {
      if (expiresAt > now) {
        this.#pruneAt = expiresAt;
        break;
      }
      this.#entries.delete(slot);
    }
  }

  get(slot: string): State | undefined {
    return (slot === OVERFLOW ? this.#shared : this.#entries.get(slot))?.state;
  }

  set(slot: string, state: State): void {
    const entry = { state, expiresAt: this.#now() + this.#lifetimeMs };
    if (slot === OVERFLOW) {
      this.#shared = entry;
      return;
    }
    this.#entries.delete(slot);
    this.#entries.set(slot, entry);
  }

  delete(slot: string): boolean {
    if (slot !== OVERFLOW) return this.#entries.delete(slot);
    const had = this.#shared !== undefined;
    this.#shared = undefined;
    return had;
  }

  /** Forgets all states; answers where they were. */
  clear(): string[] {
    const slots = [...this.#entries.keys(), ...(this.#shared === undefined ? [] : [OVERFLOW])];
    this.#entries.clear();
    this.#shared = undefined;
    return slots;
  }
}
