import { type Clock, ConfigurationError, type Principal, principalKey, type StateStore } from '@mcp-blocks/core';
import { RefusedCall } from './refused-call.js';

/**
 * How many calls of a tool succeed at most, for each principal, whatever OAuth clients it uses. Each an integer from 1; at
 * least one is given.
 */
export interface Quota {
  /** In a clock hour, UTC. */
  readonly hour?: number;
  /** In a calendar day, UTC. */
  readonly day?: number;
  /** In a calendar month, UTC. */
  readonly month?: number;
}

const PERIODS = ['hour', 'day', 'month'] as const;
type Period = (typeof PERIODS)[number];

/** Counters outlive their window a little, for servers whose clocks differ. */
const GRACE_MS = 3_600_000;

/** A frozen copy. @throws ConfigurationError naming the member that is not as documented. */
export function checkedQuota(quota: Quota, option: string): Quota {
  const members = typeof quota === 'object' && quota !== null ? Object.entries(quota) : [];
  if (members.length === 0) throw new ConfigurationError(option, 'expected at least one of hour, day, month');
  for (const [member, limit] of members) {
    if (!PERIODS.includes(member as Period)) throw new ConfigurationError(`${option}.${member}`, 'unknown; a quota has hour, day, month');
    if (!Number.isSafeInteger(limit) || limit < 1)
      throw new ConfigurationError(`${option}.${member}`, `expected an integer from 1, got ${limit}`);
  }
  return Object.freeze({ ...quota });
}

interface Reservation {
  readonly key: string;
  readonly ttlMs: number;
}

/**
 * Counts the successful calls of each principal and tool in a shared store. A call is counted before it
 * runs and given back when it does not succeed, so that calls at once cannot overspend; the price is that
 * a call may be refused for another one in progress that then fails. A process that dies in a call does
 * not give it back.
 */
export class QuotaLedger {
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #onError: (error: Error) => void;

  constructor(store: StateStore, clock: Clock, onError: (error: Error) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#onError = onError;
  }

  /**
   * Runs a call and charges for it if it succeeded.
   *
   * @throws RpcError `rate_limited` with `retryAfterMs` until the window ends; what the store throws, when
   * it cannot be reached before the call.
   */
  async charge<T>(tool: string, quota: Quota, principal: Principal, run: () => Promise<T>, succeeded: (result: T) => boolean): Promise<T> {
    const reserved = await this.#reserve(tool, quota, principal);
    let charge = false;
    try {
      const result = await run();
      charge = succeeded(result);
      return result;
    } finally {
      if (!charge) await this.#giveBack(reserved);
    }
  }

  async #reserve(tool: string, quota: Quota, { clientId: _client, ...person }: Principal): Promise<readonly Reservation[]> {
    // Where clients register themselves, a quota for each would be none.
    const caller = principalKey(person);
    const now = this.#clock.now();
    const reserved: Reservation[] = [];
    try {
      for (const period of PERIODS) {
        const limit = quota[period];
        if (limit === undefined) continue;
        const { start, end } = windowOf(period, now);
        const reservation = { key: JSON.stringify(['quota', tool, caller, period, start]), ttlMs: end - now + GRACE_MS };
        const sum = await this.#store.increment(reservation.key, 1, { ttlMs: reservation.ttlMs });
        reserved.push(reservation);
        if (sum > limit) throw exceeded(tool, limit, period, end - now);
      }
      return reserved;
    } catch (error) {
      await this.#giveBack(reserved);
      throw error;
    }
  }

  async #giveBack(reserved: readonly Reservation[]): Promise<void> {
    for (const { key, ttlMs } of reserved) {
      try {
        await this.#store.increment(key, -1, { ttlMs });
      } catch (error) {
        this.#onError(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }
}

function windowOf(period: Period, now: number): { readonly start: number; readonly end: number } {
  const date = new Date(now);
  const [year, month, day, hour] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours()];
  if (period === 'hour') return { start: Date.UTC(year, month, day, hour), end: Date.UTC(year, month, day, hour + 1) };
  if (period === 'day') return { start: Date.UTC(year, month, day), end: Date.UTC(year, month, day + 1) };
  return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) };
}

function exceeded(tool: string, limit: number, period: Period, retryAfterMs: number): RefusedCall {
  return new RefusedCall('rate.limited', 'rate_limited', `The quota of ${limit} calls of '${tool}' per ${period} is used up`, {
    data: { reason: 'quota_exceeded', retryAfterMs, limit, period },
    auditReason: `quota of ${limit} per ${period} used up`,
    headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) },
  });
}
