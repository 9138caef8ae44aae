import { KeyTable } from './key-table.js';
import type { Limiter, LimitVerdict } from './limiter.js';

interface Window {
  /** Tells this window from others, of whatever key. */
  readonly receipt: number;
  readonly used: number;
  /** When it is over. */
  readonly endsAt: number;
}

/**
 * So many points per window; a window opens with a key's first call and the count starts anew when it is
 * over. Around the seam of two windows twice as many can pass.
 */
export class FixedWindow implements Limiter {
  readonly #requests: number;
  readonly #windowMs: number;
  readonly #now: () => number;
  readonly #windows: KeyTable<Window>;
  #opened = 0;

  constructor(requests: number, windowMs: number, maxKeys: number, now: () => number) {
    this.#requests = requests;
    this.#windowMs = windowMs;
    this.#now = now;
    this.#windows = new KeyTable(maxKeys, windowMs, now);
  }

  peek(key: string, cost: number): LimitVerdict {
    const now = this.#now();
    return this.#verdict(this.#open(this.#windows.slot(key), now), now, cost, 0);
  }

  consume(key: string, cost: number): LimitVerdict {
    const now = this.#now();
    const slot = this.#windows.slot(key);
    const open = this.#open(slot, now);
    const verdict = this.#verdict(open, now, cost, 0);
    if (!verdict.allowed) return verdict;
    const counted =
      open === undefined ? { receipt: (this.#opened += 1), used: cost, endsAt: now + this.#windowMs } : { ...open, used: open.used + cost };
    this.#windows.set(slot, counted);
    return this.#verdict(counted, now, 0, counted.receipt);
  }

  refund(key: string, cost: number, receipt: number): void {
    const slot = this.#windows.slot(key);
    const open = this.#open(slot, this.#now());
    // Nothing is given back to a later window.
    if (open?.receipt === receipt) this.#windows.set(slot, { ...open, used: Math.max(0, open.used - cost) });
  }

  reset(key: string): boolean {
    const slot = this.#windows.slot(key);
    const had = this.#open(slot, this.#now()) !== undefined;
    this.#windows.delete(slot);
    return had;
  }

  clear(): void {
    this.#windows.clear();
  }

  #open(slot: string, now: number): Window | undefined {
    const window = this.#windows.get(slot);
    if (window === undefined || window.endsAt <= now) return undefined;
    // After the clock went back it would last longer than a window does.
    return window.endsAt - now <= this.#windowMs ? window : { ...window, endsAt: now + this.#windowMs };
  }

  #verdict(window: Window | undefined, now: number, cost: number, receipt: number): LimitVerdict {
    const used = window?.used ?? 0;
    const remaining = this.#requests - used;
    const resetMs = window === undefined ? 0 : window.endsAt - now;
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
