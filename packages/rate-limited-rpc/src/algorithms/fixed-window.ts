import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { KeyTable } from './key-table.js';
import type { Limiter, LimitVerdict } from './limiter.js';

/**
 * So many points per window; a window opens with a key's first call and the count starts anew when it is
 * over. Around the seam of two windows twice as many can pass.
 */
export class FixedWindow implements Limiter {
  readonly #limiter: RateLimiterMemory;
  readonly #requests: number;
  /** Numbers the open windows, so that nothing is given back to a later one. */
  readonly #windows: KeyTable<number>;
  #opened = 0;

  constructor(requests: number, windowMs: number, maxKeys: number) {
    this.#limiter = new RateLimiterMemory({ points: requests, duration: windowMs / 1000, keyPrefix: '' });
    this.#requests = requests;
    // The library under it reads the machine's clock and takes no other.
    this.#windows = new KeyTable(maxKeys, windowMs, Date.now);
  }

  async peek(key: string, cost: number): Promise<LimitVerdict> {
    const slot = this.#windows.slot(key);
    const found = await this.#limiter.get(slot);
    // The library drops a finished window by timer, which may be late.
    if (found === null || found.msBeforeNext <= 0) return this.#verdict(0, 0, cost, 0);
    return this.#verdict(found.consumedPoints, found.msBeforeNext, cost, 0);
  }

  async consume(key: string, cost: number): Promise<LimitVerdict> {
    const verdict = await this.peek(key, cost);
    if (!verdict.allowed) return verdict;
    const slot = this.#windows.slot(key);
    const counted = await this.#count(slot, cost);
    if (counted.isFirstInDuration) this.#windows.set(slot, (this.#opened += 1));
    return this.#verdict(counted.consumedPoints, counted.msBeforeNext, 0, this.#windows.get(slot) ?? 0);
  }

  async refund(key: string, cost: number, receipt: number): Promise<void> {
    const slot = this.#windows.slot(key);
    if (this.#windows.get(slot) !== receipt) return;
    const found = await this.#limiter.get(slot);
    if (found !== null && found.msBeforeNext > 0) await this.#limiter.reward(slot, Math.min(cost, found.consumedPoints));
  }

  async reset(key: string): Promise<boolean> {
    const slot = this.#windows.slot(key);
    this.#windows.delete(slot);
    return this.#limiter.delete(slot);
  }

  async clear(): Promise<void> {
    // Deleting ends the library's timers.
    await Promise.all(this.#windows.clear().map((slot) => this.#limiter.delete(slot)));
  }

  async #count(slot: string, cost: number): Promise<RateLimiterRes> {
    try {
      return await this.#limiter.consume(slot, cost);
    } catch (refused) {
      // Not an error but a count over the limit: the machine's clock went back since the peek.
      if (refused instanceof Error) throw refused;
      return refused as RateLimiterRes;
    }
  }

  #verdict(consumed: number, msBeforeNext: number, cost: number, receipt: number): LimitVerdict {
    const used = Math.min(consumed, this.#requests);
    const remaining = this.#requests - used;
    const resetMs = Math.ceil(msBeforeNext);
    const allowed = cost <= remaining;
    return {
      allowed,
      used,
      remaining,
      resetMs,
      retryAfterMs: allowed ? 0 : cost > this.#requests ? Infinity : resetMs,
      receipt,
    };
  }
}
