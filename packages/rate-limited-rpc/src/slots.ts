import { Concurrency } from './concurrency.js';

/** What a store must know of a concurrency limit. */
export interface SlotRule {
  /** Unique among the limits of one store. */
  readonly name: string;
  /** Calls in progress at a time. */
  readonly concurrent: number;
}

/** A call that is to take a slot of one key of one limit. */
export interface SlotClaim {
  readonly rule: SlotRule;
  readonly key: string;
}

/** What became of the claims: the function that gives the slots back, or the first limit that had none. */
export type SlotOutcome = { readonly taken: true; leave(): void } | { readonly taken: false; readonly full: SlotRule };

/** Calls in progress. `take` and `used` reject when they cannot be counted. */
export interface LimitSlots {
  /** Takes a slot for each claim, or none. */
  take(claims: readonly SlotClaim[]): Promise<SlotOutcome>;
  /** The slots that are taken, for each claim. */
  used(claims: readonly SlotClaim[]): Promise<readonly number[]>;
  /** Lets go of timers. Idempotent. */
  close(): void;
}

/** Counts the calls in progress in this process. */
export class MemorySlots implements LimitSlots {
  readonly #limits: ReadonlyMap<string, Concurrency>;

  constructor(rules: readonly SlotRule[]) {
    this.#limits = new Map(rules.map(({ name, concurrent }) => [name, new Concurrency(concurrent)]));
  }

  async take(claims: readonly SlotClaim[]): Promise<SlotOutcome> {
    const full = claims.find(({ rule, key }) => !this.#of(rule).hasRoom(key));
    if (full !== undefined) return { taken: false, full: full.rule };
    for (const { rule, key } of claims) this.#of(rule).enter(key);
    return {
      taken: true,
      leave: () => {
        for (const { rule, key } of claims) this.#of(rule).leave(key);
      },
    };
  }

  async used(claims: readonly SlotClaim[]): Promise<readonly number[]> {
    return claims.map(({ rule, key }) => this.#of(rule).used(key));
  }

  close(): void {}

  #of({ name }: SlotRule): Concurrency {
    return this.#limits.get(name) as Concurrency;
  }
}
