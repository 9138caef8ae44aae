import { randomUUID } from 'node:crypto';
import type { CancelTimer, Clock } from '@mcp-blocks/core';
import type { LimitSlots, SlotClaim, SlotOutcome } from '../slots.js';
import type { RedisCommands } from './redis-commands.js';
import { COUNT_SLOTS, RENEW_SLOTS, TAKE_SLOTS } from './scripts.js';

/** For how long a slot is taken without a word from its process. */
export interface RedisLease {
  readonly leaseMs: number;
  /** For the renewals, three in each `leaseMs`. */
  readonly clock: Clock;
}

/**
 * Calls in progress, of all processes on one Redis: each has a lease on its slots, which its process renews. A
 * process that dies leaves its slots taken until their leases are over.
 */
export class RedisSlots implements LimitSlots {
  readonly #commands: RedisCommands;
  readonly #lease: RedisLease;
  /** The keys of each call in progress here. */
  readonly #held = new Map<string, readonly string[]>();
  #cancelRenewal: CancelTimer | undefined;

  constructor(commands: RedisCommands, lease: RedisLease) {
    this.#commands = commands;
    this.#lease = lease;
  }

  async take(claims: readonly SlotClaim[]): Promise<SlotOutcome> {
    const id = randomUUID();
    const keys = this.#keysOf(claims);
    const limits = claims.map(({ rule }) => rule.concurrent);
    const full = (await this.#commands.run(TAKE_SLOTS, keys, [id, this.#lease.leaseMs, ...limits])) as number;
    const refusing = claims[full - 1];
    if (refusing !== undefined) return { taken: false, full: refusing.rule };
    this.#held.set(id, keys);
    this.#scheduleRenewal();
    return { taken: true, leave: () => this.#leave(id, keys) };
  }

  async used(claims: readonly SlotClaim[]): Promise<readonly number[]> {
    return claims.length === 0 ? [] : ((await this.#commands.run(COUNT_SLOTS, this.#keysOf(claims), [])) as number[]);
  }

  close(): void {
    this.#cancelRenewal?.();
    this.#held.clear();
  }

  #leave(id: string, keys: readonly string[]): void {
    if (!this.#held.delete(id)) return;
    const gone = this.#commands.within((client) => Promise.all(keys.map((key) => client.zrem(key, id))));
    // What Redis does not hear of ends with its lease.
    gone.catch(() => {});
  }

  #scheduleRenewal(): void {
    if (this.#cancelRenewal !== undefined) return;
    this.#cancelRenewal = this.#lease.clock.setTimeout(() => {
      this.#cancelRenewal = undefined;
      if (this.#held.size === 0) return;
      this.#renew();
      this.#scheduleRenewal();
    }, this.#lease.leaseMs / 3);
  }

  /** A lease that was over meanwhile is taken anew, room or not: the call is still running. */
  #renew(): void {
    const leases = [...this.#held].flatMap(([id, keys]) => keys.map((key) => [key, id] as const));
    const renewed = this.#commands.run(
      RENEW_SLOTS,
      leases.map(([key]) => key),
      [this.#lease.leaseMs, ...leases.map(([, id]) => id)],
    );
    // The next renewal is in time.
    renewed.catch(() => {});
  }

  #keysOf(claims: readonly SlotClaim[]): string[] {
    return claims.map(({ rule, key }) => `${this.#commands.keyPrefix}${rule.name}:concurrent:${key}`);
  }
}
