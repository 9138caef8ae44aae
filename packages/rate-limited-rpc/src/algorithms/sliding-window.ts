import { KeyTable } from './key-table.js';
import type { Limiter, LimitVerdict } from './limiter.js';

/** A window is counted in this many slices, so that a key needs that much memory whatever its limit is. */
const SLICES = 30;

/** The length of a slice, and for how many slices a point counts: until the window after it is over for certain. */
export function slicing(windowMs: number): { readonly sliceMs: number; readonly span: number } {
  const sliceMs = Math.ceil(windowMs / SLICES);
  return { sliceMs, span: Math.ceil(windowMs / sliceMs) + 1 };
}

interface Slice {
  /** Which slice since the epoch. */
  readonly index: number;
  readonly used: number;
}

/**
 * Never more than so many points within any stretch of `windowMs`. A point that was taken has room again
 * after `windowMs`, or up to a thirtieth of it later.
 */
export class SlidingWindow implements Limiter {
  readonly #requests: number;
  readonly #sliceMs: number;
  readonly #span: number;
  readonly #now: () => number;
  /** Slices in which points were taken, oldest first. */
  readonly #slices: KeyTable<readonly Slice[]>;

  constructor(requests: number, windowMs: number, maxKeys: number, now: () => number) {
    const { sliceMs, span } = slicing(windowMs);
    this.#requests = requests;
    this.#sliceMs = sliceMs;
    this.#span = span;
    this.#now = now;
    this.#slices = new KeyTable(maxKeys, span * sliceMs, now);
  }

  peek(key: string, cost: number): LimitVerdict {
    return this.#verdict(this.#current(this.#slices.slot(key)), cost, 0);
  }

  consume(key: string, cost: number): LimitVerdict {
    const slot = this.#slices.slot(key);
    const slices = this.#current(slot);
    const verdict = this.#verdict(slices, cost, 0);
    if (!verdict.allowed) return verdict;
    const last = slices.at(-1);
    // After the clock went back the newest slice is the one to count in: the window may only get longer.
    const index = Math.max(Math.floor(this.#now() / this.#sliceMs), last?.index ?? 0);
    const next = last?.index === index ? [...slices.slice(0, -1), { index, used: last.used + cost }] : [...slices, { index, used: cost }];
    this.#slices.set(slot, next);
    return this.#verdict(next, 0, index);
  }

  refund(key: string, cost: number, receipt: number): void {
    const slot = this.#slices.slot(key);
    const slices = this.#current(slot);
    if (slices.length === 0) return;
    const next = slices.map((slice) => (slice.index === receipt ? { ...slice, used: Math.max(0, slice.used - cost) } : slice));
    this.#slices.set(
      slot,
      next.filter(({ used }) => used > 0),
    );
  }

  reset(key: string): boolean {
    const slot = this.#slices.slot(key);
    const had = this.#current(slot).length > 0;
    this.#slices.delete(slot);
    return had;
  }

  clear(): void {
    this.#slices.clear();
  }

  #current(slot: string): readonly Slice[] {
    const oldest = Math.floor(this.#now() / this.#sliceMs) - this.#span;
    return (this.#slices.get(slot) ?? []).filter(({ index }) => index > oldest);
  }

  #verdict(slices: readonly Slice[], cost: number, receipt: number): LimitVerdict {
    const used = slices.reduce((sum, slice) => sum + slice.used, 0);
    const remaining = this.#requests - used;
    const allowed = cost <= remaining;
    const last = slices.at(-1);
    return {
      allowed,
      used,
      remaining,
      resetMs: last === undefined ? 0 : this.#endMs(last),
      retryAfterMs: allowed ? 0 : this.#retryAfterMs(slices, cost - remaining),
      receipt,
    };
  }

  #retryAfterMs(slices: readonly Slice[], missing: number): number {
    for (const slice of slices) {
      missing -= slice.used;
      if (missing <= 0) return this.#endMs(slice);
    }
    return Infinity;
  }

  /** Milliseconds until the slice no longer counts. */
  #endMs({ index }: Slice): number {
    return (index + this.#span) * this.#sliceMs - this.#now();
  }
}
