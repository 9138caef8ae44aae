import { type Clock, RpcError } from '@mcp-blocks/core';
import type { LimitUse } from './algorithms/limiter.js';
import type { LimitCharge, LimitCounters, LimitOutcome, LimitRule, PaidCharge } from './limit-store.js';
import { type LimitSlots, MemorySlots, type SlotClaim, type SlotRule } from './slots.js';

/** What counts while the shared counts cannot be reached. */
export interface InsuranceOptions {
  /**
   * How many processes share the counts; a positive integer. While they cannot be reached, each process
   * lets through its own share of every limit: `requests / processes`, rounded down, at least 1.
   */
  readonly processes: number;
  /** Another share for limits with `requests` by their name; a positive integer each. */
  readonly requests?: Readonly<Record<string, number>>;
}

/** The rules a process goes by alone. */
export function insuredRules(rules: readonly LimitRule[], { processes, requests: own = {} }: InsuranceOptions): readonly LimitRule[] {
  return rules.map((rule) => {
    const requests = own[rule.name] ?? Math.max(1, Math.floor(rule.requests / processes));
    const burst = own[rule.name] === undefined ? rule.burst / processes : (rule.burst * requests) / rule.requests;
    return { ...rule, requests, burst: rule.algorithm === 'token-bucket' ? Math.max(1, Math.floor(burst)) : requests };
  });
}

/** The calls in progress that a process lets in alone. */
function insuredSlots(rules: readonly SlotRule[], { processes }: InsuranceOptions): readonly SlotRule[] {
  return rules.map((rule) => ({ ...rule, concurrent: Math.max(1, Math.floor(rule.concurrent / processes)) }));
}

/**
 * Counts that are shared as long as they can be reached. After a failure nobody asks for them but one call
 * every `probeIntervalMs`; the others are counted by the insurance, or fail at once where there is none.
 */
export class InsuredCounters implements LimitCounters {
  readonly #shared: LimitCounters;
  readonly #insurance: LimitCounters | undefined;
  readonly #insured: ReadonlyMap<string, LimitRule>;
  readonly #insuranceOptions: InsuranceOptions | undefined;
  readonly #probeIntervalMs: number;
  readonly #clock: Clock;
  /** When the shared counts may be asked again; `undefined` while they answer. */
  #probeAt: number | undefined;

  constructor(
    shared: LimitCounters,
    insurance: { readonly counters: LimitCounters; readonly rules: readonly LimitRule[]; readonly options: InsuranceOptions } | undefined,
    options: { readonly probeIntervalMs: number; readonly clock: Clock },
  ) {
    this.#shared = shared;
    this.#insurance = insurance?.counters;
    this.#insured = new Map(insurance?.rules.map((rule) => [rule.name, rule]));
    this.#insuranceOptions = insurance?.options;
    this.#probeIntervalMs = options.probeIntervalMs;
    this.#clock = options.clock;
  }

  charge(charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    return this.#ask(
      () => this.#shared.charge(charges),
      async (insurance) => {
        const { allowed, verdicts } = await insurance.charge(this.#own(charges));
        return {
          allowed,
          verdicts: verdicts.map((verdict, index) => ({
            ...verdict,
            // What costs more than one share has room again when the shares are put together.
            retryAfterMs:
              verdict.retryAfterMs === Infinity && (charges[index] as LimitCharge).cost <= (charges[index] as LimitCharge).rule.burst
                ? this.#probeIntervalMs
                : verdict.retryAfterMs,
            // Negative: counted here, so given back here.
            receipt: -verdict.receipt,
          })),
        };
      },
    );
  }

  peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return this.#ask(
      () => this.#shared.peek(charges),
      (insurance) => insurance.peek(this.#own(charges)),
    );
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    const here = charges.filter(({ receipt }) => receipt < 0);
    if (here.length > 0) {
      await this.#insurance?.refund(this.#own(here).map((charge, index) => ({ ...charge, receipt: -(here[index]?.receipt ?? 0) })));
    }
    const there = charges.filter(({ receipt }) => receipt > 0);
    if (there.length > 0) await this.#ask(() => this.#shared.refund(there));
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    await this.#insurance?.reset(this.#own(charges));
    return this.#ask(() => this.#shared.reset(charges));
  }

  slots(rules: readonly SlotRule[]): LimitSlots {
    const shared = this.#shared.slots?.(rules) ?? new MemorySlots(rules);
    const shares = insuredSlots(rules, this.#insuranceOptions ?? { processes: 1 });
    const here = new MemorySlots(shares);
    const own = (claims: readonly SlotClaim[]) =>
      claims.map((claim) => ({ ...claim, rule: shares.find(({ name }) => name === claim.rule.name) as SlotRule }));
    return {
      take: (claims) =>
        this.#ask(
          () => shared.take(claims),
          () => here.take(own(claims)),
        ),
      used: (claims) =>
        this.#ask(
          () => shared.used(claims),
          () => here.used(own(claims)),
        ),
      close: () => shared.close(),
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#shared.close(), this.#insurance?.close()]);
  }

  async #ask<T>(shared: () => T | Promise<T>, otherwise?: (insurance: LimitCounters) => Promise<T>): Promise<T> {
    let failure: unknown;
    const now = this.#clock.now();
    if (this.#probeAt === undefined || this.#probeAt <= now) {
      // Set before asking, so that one call asks and the others do not wait for it.
      if (this.#probeAt !== undefined) this.#probeAt = now + this.#probeIntervalMs;
      try {
        const answer = await shared();
        this.#probeAt = undefined;
        return answer;
      } catch (error) {
        failure = error;
        this.#probeAt = this.#clock.now() + this.#probeIntervalMs;
      }
    }
    if (this.#insurance !== undefined && otherwise !== undefined) return otherwise(this.#insurance);
    throw failure ?? new RpcError('unavailable', 'The rate limits cannot be checked');
  }

  #own<Charge extends LimitCharge>(charges: readonly Charge[]): readonly Charge[] {
    return charges.map((charge) => ({ ...charge, rule: this.#insured.get(charge.rule.name) ?? charge.rule }));
  }
}
