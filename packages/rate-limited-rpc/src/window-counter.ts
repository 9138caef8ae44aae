import { RateLimiterMemory } from 'rate-limiter-flexible';

/** How much of its window a key has used. */
export interface WindowUse {
  readonly used: number;
  readonly remaining: number;
  /** Milliseconds until the window is over; 0 when none is open. */
  readonly resetMs: number;
}

/** Longer keys share a counter with others that begin alike, so that a key's size is bounded too. */
const MAX_KEY_LENGTH = 1024;
const OVERFLOW = 'overflow';

/** Counts requests per key in fixed windows, for at most `maxKeys` keys and one shared counter for the rest. */
export class WindowCounter {
  readonly #limiter: RateLimiterMemory;
  readonly #requests: number;
  readonly #windowMs: number;
  readonly #maxKeys: number;
  /** When each key's window ends. All windows are equally long, so the oldest come first. */
  readonly #ends = new Map<string, number>();

  constructor(requests: number, windowMs: number, maxKeys: number) {
    this.#limiter = new RateLimiterMemory({ points: requests, duration: windowMs / 1000, keyPrefix: '' });
    this.#requests = requests;
    this.#windowMs = windowMs;
    this.#maxKeys = maxKeys;
  }

  /** Keys with a counter of their own. */
  get size(): number {
    this.#prune();
    return this.#ends.size;
  }

  async peek(key: string): Promise<WindowUse> {
    const found = await this.#limiter.get(this.#slot(key));
    // The library drops a finished window by timer, which may be late.
    if (found === null || found.msBeforeNext <= 0) return { used: 0, remaining: this.#requests, resetMs: 0 };
    const used = Math.min(found.consumedPoints, this.#requests);
    return { used, remaining: this.#requests - used, resetMs: Math.ceil(found.msBeforeNext) };
  }

  /** Counts one request. The caller has peeked and found room. */
  async take(key: string): Promise<void> {
    const slot = this.#slot(key);
    if (slot !== OVERFLOW && !this.#ends.has(slot)) this.#ends.set(slot, Date.now() + this.#windowMs);
    try {
      await this.#limiter.consume(slot);
    } catch (refused) {
      // Not an error but a count over the limit: the machine's clock went back since the peek.
      if (refused instanceof Error) throw refused;
    }
  }

  /** Forgets the key's count; resolves with whether there was one. */
  async reset(key: string): Promise<boolean> {
    const slot = this.#slot(key);
    this.#ends.delete(slot);
    return this.#limiter.delete(slot);
  }

  /** Forgets everything and ends the library's timers. */
  async clear(): Promise<void> {
    const slots = [...this.#ends.keys(), OVERFLOW];
    this.#ends.clear();
    await Promise.all(slots.map((slot) => this.#limiter.delete(slot)));
  }

  #slot(key: string): string {
    this.#prune();
    const slot = `:${key.slice(0, MAX_KEY_LENGTH)}`;
    return this.#ends.has(slot) || this.#ends.size < this.#maxKeys ? slot : OVERFLOW;
  }

  #prune(): void {
    const now = Date.now();
    for (const [slot, end] of this.#ends) {
      if (end > now) return;
      this.#ends.delete(slot);
    }
  }
}
