import type { LimitUse, LimitVerdict } from '../algorithms/limiter.js';
import type { LimitCharge, LimitCounters, LimitOutcome, PaidCharge } from '../limit-store.js';
import type { LimitSlots } from '../slots.js';
import type { RedisCommands } from './redis-commands.js';
import { type RedisLease, RedisSlots } from './redis-slots.js';
import { CHARGE, REFUND } from './scripts.js';

const NUMBERS_PER_LIMIT = 5;

/** Counts in Redis, for all processes that use it. Every check is one script, so it is seen whole or not at all. */
export class RedisLimitCounters implements LimitCounters {
  readonly #commands: RedisCommands;
  readonly #lease: RedisLease;

  constructor(commands: RedisCommands, lease: RedisLease) {
    this.#commands = commands;
    this.#lease = lease;
  }

  charge(charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    return this.#look('charge', charges);
  }

  async peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return charges.length === 0 ? [] : (await this.#look('peek', charges)).verdicts;
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    const perLimit = charges.map(({ rule, cost, receipt }) => [rule.algorithm, cost, receipt]);
    await this.#commands.run(REFUND, this.#keysOf(charges), perLimit.flat());
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    if (charges.length === 0) return 0;
    return this.#commands.within((client) => client.del(...this.#keysOf(charges)));
  }

  slots(): LimitSlots {
    return new RedisSlots(this.#commands, this.#lease);
  }

  async close(): Promise<void> {
    this.#commands.close();
  }

  async #look(mode: 'charge' | 'peek', charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    const perLimit = charges.map(({ rule, cost }) => [rule.algorithm, rule.requests, rule.windowMs, rule.burst, cost]);
    const [allowed, ...numbers] = (await this.#commands.run(CHARGE, this.#keysOf(charges), [mode, ...perLimit.flat()])) as number[];
    const verdicts = charges.map((_charge, index): LimitVerdict => {
      const at = index * NUMBERS_PER_LIMIT;
      const [used, remaining, resetMs, retry, receipt] = numbers.slice(at, at + NUMBERS_PER_LIMIT) as [
        number,
        number,
        number,
        number,
        number,
      ];
      return { allowed: retry === 0, used, remaining, resetMs, retryAfterMs: retry === -1 ? Infinity : retry, receipt };
    });
    return { allowed: allowed === 1, verdicts };
  }

  /** Nothing else may be under a key: what is counted how is part of its name. */
  #keysOf(charges: readonly LimitCharge[]): string[] {
    return charges.map(({ rule, key }) => `${this.#commands.keyPrefix}${rule.name}:${rule.algorithm}:${rule.windowMs}:${key}`);
  }
}
