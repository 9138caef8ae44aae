import { KeyTable } from './key-table.js';
import type { Limiter, LimitVerdict } from './limiter.js';

interface Bucket {
  /** Tokens times `windowMs`: whole numbers only, so that nothing is lost by rounding. */
  readonly level: number;
  readonly time: number;
}

/**
 * A bucket of `burst` tokens that fills evenly with `requests` tokens per `windowMs`. In any stretch of
 * time `t` at most `burst + t · requests / windowMs` points pass.
 */
export class TokenBucket implements Limiter {
  readonly #requests: number;
  readonly #windowMs: number;
  readonly #burst: number;
  readonly #now: () => number;
  readonly #buckets: KeyTable<Bucket>;

  constructor(requests: number, windowMs: number, burst: number, maxKeys: number, now: () => number) {
    this.#requests = requests;
    this.#windowMs = windowMs;
    this.#burst = burst;
    this.#now = now;
    // By then an untouched bucket is full, like one that was never used.
    this.#buckets = new KeyTable(maxKeys, Math.ceil((burst * windowMs) / requests), now);
  }

  peek(key: string, cost: number): LimitVerdict {
    return this.#verdict(this.#bucket(this.#buckets.slot(key)).level, cost, 0);
  }

  consume(key: string, cost: number): LimitVerdict {
    const slot = this.#buckets.slot(key);
    const { level, time } = this.#bucket(slot);
    const verdict = this.#verdict(level, cost, 0);
    if (!verdict.allowed) return verdict;
    const left = level - cost * this.#windowMs;
    this.#buckets.set(slot, { level: left, time });
    return this.#verdict(left, 0, 1);
  }

  reset(key: string): boolean {
    return this.#buckets.delete(this.#buckets.slot(key));
  }

  clear(): void {
    this.#buckets.clear();
  }

  get #full(): number {
    return this.#burst * this.#windowMs;
  }

  #bucket(slot: string): Bucket {
    const now = this.#now();
    const found = this.#buckets.get(slot);
    if (found === undefined) return { level: this.#full, time: now };
    // The clock may have gone back; then nothing flows in until it has caught up.
    const elapsed = Math.max(0, now - found.time);
    return { level: Math.min(this.#full, found.level + elapsed * this.#requests), time: found.time + elapsed };
  }

  #verdict(level: number, cost: number, receipt: number): LimitVerdict {
    const missing = cost * this.#windowMs - level;
    const remaining = Math.floor(level / this.#windowMs);
    return {
      allowed: missing <= 0,
      used: this.#burst - remaining,
      remaining,
      resetMs: Math.ceil((this.#full - level) / this.#requests),
      retryAfterMs: missing <= 0 ? 0 : cost > this.#burst ? Infinity : Math.ceil(missing / this.#requests),
      receipt,
    };
  }
}
