import type { Clock } from '@mcp-blocks/core';
import { FixedWindow } from './algorithms/fixed-window.js';
import type { Limiter, LimitUse } from './algorithms/limiter.js';
import { SlidingWindow } from './algorithms/sliding-window.js';
import { TokenBucket } from './algorithms/token-bucket.js';
import type { LimitCharge, LimitCounters, LimitOutcome, LimitRule, PaidCharge } from './limit-store.js';

/** Counts in this process. */
export class MemoryLimitCounters implements LimitCounters {
  readonly #limiters: ReadonlyMap<string, Limiter>;

  constructor(rules: readonly LimitRule[], { maxKeys, clock }: { readonly maxKeys: number; readonly clock: Clock }) {
    this.#limiters = new Map(rules.map((rule) => [rule.name, limiterOf(rule, maxKeys, () => clock.now())]));
  }

  /** In one turn, so that nobody else counts between looking at the limits and counting on them. */
  charge(charges: readonly LimitCharge[]): LimitOutcome {
    // One limit looks for itself.
    if (charges.length > 1) {
      const looked = charges.map((charge) => this.#of(charge).peek(charge.key, charge.cost));
      if (looked.some(({ allowed }) => !allowed)) return { allowed: false, verdicts: looked };
    }
    const verdicts = charges.map((charge) => this.#of(charge).consume(charge.key, charge.cost));
    return { allowed: verdicts.every(({ allowed }) => allowed), verdicts };
  }

  async peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return charges.map((charge) => this.#of(charge).peek(charge.key, 0));
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    for (const charge of charges) this.#of(charge).refund?.(charge.key, charge.cost, charge.receipt);
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    return charges.map((charge) => this.#of(charge).reset(charge.key)).filter(Boolean).length;
  }

  async close(): Promise<void> {
    for (const limiter of this.#limiters.values()) limiter.clear();
  }

  #of({ rule }: LimitCharge): Limiter {
    return this.#limiters.get(rule.name) as Limiter;
  }
}

function limiterOf({ algorithm, requests, windowMs, burst }: LimitRule, maxKeys: number, now: () => number): Limiter {
  switch (algorithm) {
    case 'fixed-window':
      return new FixedWindow(requests, windowMs, maxKeys, now);
    case 'sliding-window':
      return new SlidingWindow(requests, windowMs, maxKeys, now);
    case 'token-bucket':
      return new TokenBucket(requests, windowMs, burst, maxKeys, now);
  }
}
