import { type Clock, ConfigurationError, RpcError } from '@mcp-blocks/core';
import type { RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible';
import type { LimitUse, LimitVerdict } from '../algorithms/limiter.js';
import type { LimitCharge, LimitCounters, LimitOutcome, LimitRule, LimitStore, PaidCharge } from '../limit-store.js';

/** What a limiter of rate-limiter-flexible must be made with. */
export interface FlexibleLimitsOptions {
  /**
   * Makes the limiter of one limit, called once for each: `points` and `duration` (seconds) go to the library as they
   * are; `keyPrefix` is the limit's name, unique in one server.
   */
  readonly limiter: (limit: { readonly points: number; readonly duration: number; readonly keyPrefix: string }) => RateLimiterAbstract;
}

/** Windows whose ends differ by less are the same: stores round. */
const SAME_WINDOW_MS = 1_000;

/**
 * Counts with rate-limiter-flexible, wherever that library can: PostgreSQL, MySQL, MongoDB, DynamoDB, Memcached,
 * Valkey and more. Fixed windows only. Limits of one call are counted one after the other and given back when a later
 * one refuses, so that meanwhile another call may find less room than there is, never more.
 *
 * @throws ConfigurationError, when the server is made, for a limit with another algorithm.
 */
export function flexibleLimits({ limiter }: FlexibleLimitsOptions): LimitStore {
  if (typeof limiter !== 'function') throw new ConfigurationError('limiter', 'expected a function that makes a limiter');
  return {
    open: (rules, { clock }) => {
      const other = rules.find(({ algorithm }) => algorithm !== 'fixed-window');
      if (other !== undefined) {
        throw new ConfigurationError('algorithm', `expected 'fixed-window', which is all this store has, got '${other.algorithm}'`);
      }
      const limiters = rules.map((rule) => {
        const made = limiter({ points: rule.requests, duration: rule.windowMs / 1000, keyPrefix: rule.name });
        return [rule.name, made] as const;
      });
      return new FlexibleCounters(new Map(limiters), clock);
    },
  };
}

class FlexibleCounters implements LimitCounters {
  readonly #limiters: ReadonlyMap<string, RateLimiterAbstract>;
  readonly #clock: Clock;

  constructor(limiters: ReadonlyMap<string, RateLimiterAbstract>, clock: Clock) {
    this.#limiters = limiters;
    this.#clock = clock;
  }

  async charge(charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    const verdicts: LimitVerdict[] = [];
    for (const charge of charges) {
      const verdict = await this.#consume(charge);
      verdicts.push(verdict);
      if (verdict.allowed) continue;
      const paid = charges.slice(0, verdicts.length - 1).map((each, index) => ({ ...each, receipt: verdicts[index]?.receipt ?? 0 }));
      await this.refund(paid);
      for (const rest of charges.slice(verdicts.length)) verdicts.push(await this.#look(rest));
      return { allowed: false, verdicts };
    }
    return { allowed: true, verdicts };
  }

  async peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return Promise.all(charges.map((charge) => this.#look({ ...charge, cost: 0 })));
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    for (const charge of charges) {
      const found = await this.#ask(charge, (limiter) => limiter.get(charge.key));
      if (found === null || Math.abs(this.#clock.now() + found.msBeforeNext - charge.receipt) > SAME_WINDOW_MS) continue;
      await this.#ask(charge, (limiter) => limiter.reward(charge.key, Math.min(charge.cost, found.consumedPoints)));
    }
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    const had = await Promise.all(charges.map((charge) => this.#ask(charge, (limiter) => limiter.delete(charge.key))));
    return had.filter(Boolean).length;
  }

  /** The limiters and what they are connected to are their maker's. */
  async close(): Promise<void> {}

  async #consume(charge: LimitCharge): Promise<LimitVerdict> {
    // The library counts what it refuses too, so what cannot have room is not asked for.
    const before = await this.#look(charge);
    if (!before.allowed) return before;
    const counted = await this.#ask(charge, (limiter) =>
      limiter.consume(charge.key, charge.cost).catch((refused: unknown) => {
        // Not an error but a count over the limit: somebody else was quicker.
        if (refused instanceof Error) throw refused;
        return refused as RateLimiterRes;
      }),
    );
    const verdict = this.#verdict(charge.rule, counted, 0);
    if (counted.consumedPoints <= charge.rule.requests) return verdict;
    await this.#ask(charge, (limiter) => limiter.reward(charge.key, charge.cost));
    return { ...verdict, allowed: false, retryAfterMs: verdict.resetMs, receipt: 0 };
  }

  async #look(charge: LimitCharge): Promise<LimitVerdict> {
    const found = await this.#ask(charge, (limiter) => limiter.get(charge.key));
    return { ...this.#verdict(charge.rule, found, charge.cost), receipt: 0 };
  }

  #verdict({ requests }: LimitRule, found: RateLimiterRes | null, cost: number): LimitVerdict {
    const isOpen = found !== null && found.msBeforeNext > 0;
    const used = isOpen ? Math.min(found.consumedPoints, requests) : 0;
    const resetMs = isOpen ? Math.ceil(found.msBeforeNext) : 0;
    const allowed = cost <= requests - used;
    return {
      allowed,
      used,
      remaining: requests - used,
      resetMs,
      retryAfterMs: allowed ? 0 : cost > requests ? Infinity : resetMs,
      receipt: this.#clock.now() + resetMs,
    };
  }

  async #ask<T>({ rule }: LimitCharge, question: (limiter: RateLimiterAbstract) => Promise<T>): Promise<T> {
    try {
      return await question(this.#limiters.get(rule.name) as RateLimiterAbstract);
    } catch (cause) {
      throw new RpcError('unavailable', 'The rate limit cannot be checked', { cause });
    }
  }
}
