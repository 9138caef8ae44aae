import type { Clock } from '@mcp-blocks/core';
import { FixedWindow } from './algorithms/fixed-window.js';
import type { Limiter, LimitUse } from './algorithms/limiter.js';
import { SlidingWindow } from './algorithms/sliding-window.js';
import { TokenBucket } from './algorithms/token-bucket.js';
import type { LimitCharge, LimitCounters, LimitOutcome, LimitRule, PaidCharge } from './limit-store.js';

/** Counts in this process. */
export class MemoryLimitCounters implements LimitCounters {
  readonly #limiters: ReadonlyMap<string, Limiter>;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(rules: readonly LimitRule[], { maxKeys, clock }: { readonly maxKeys: number; readonly clock: Clock }) {
    this.#limiters = new Map(rules.map((rule) => [rule.name, limiterOf(rule, maxKeys, () => clock.now())]));
  }

  charge(charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    return this.#inTurn(async () => {
      const looked = await this.#each(charges, (limiter, { key, cost }) => limiter.peek(key, cost));
      if (looked.some(({ allowed }) => !allowed)) return { allowed: false, verdicts: looked };
      return { allowed: true, verdicts: await this.#each(charges, (limiter, { key, cost }) => limiter.consume(key, cost)) };
    });
  }

  peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return this.#each(charges, (limiter, { key }) => limiter.peek(key, 0));
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    await this.#inTurn(() => this.#each(charges, async (limiter, { key, cost, receipt }) => limiter.refund?.(key, cost, receipt)));
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    const had = await this.#inTurn(() => this.#each(charges, (limiter, { key }) => limiter.reset(key)));
    return had.filter(Boolean).length;
  }

  async close(): Promise<void> {
    await this.#turn;
    for (const limiter of this.#limiters.values()) await limiter.clear();
  }

  async #each<T, Charge extends LimitCharge>(charges: readonly Charge[], act: (limiter: Limiter, charge: Charge) => Promise<T>) {
    const results: T[] = [];
    for (const charge of charges) results.push(await act(this.#limiters.get(charge.rule.name) as Limiter, charge));
    return results;
  }

  /** One check at a time, so that nobody else counts between looking at the limits and counting on them. */
  #inTurn<T>(check: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(check);
    this.#turn = result.catch(() => {});
    return result;
  }
}

function limiterOf({ algorithm, requests, windowMs, burst }: LimitRule, maxKeys: number, now: () => number): Limiter {
  switch (algorithm) {
    case 'fixed-window':
      return new FixedWindow(requests, windowMs, maxKeys);
    case 'sliding-window':
      return new SlidingWindow(requests, windowMs, maxKeys, now);
    case 'token-bucket':
      return new TokenBucket(requests, windowMs, burst, maxKeys, now);
  }
}
