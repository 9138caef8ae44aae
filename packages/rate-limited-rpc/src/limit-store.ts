import type { Clock } from '@mcp-blocks/core';
import type { LimitUse, LimitVerdict } from './algorithms/limiter.js';
import type { LimitSlots, SlotRule } from './slots.js';

/** How calls are counted; see `RequestLimit`. */
export type LimitAlgorithm = 'fixed-window' | 'sliding-window' | 'token-bucket';

/** What a store must know of a limit. */
export interface LimitRule {
  /** Unique among the rules of one store. */
  readonly name: string;
  readonly algorithm: LimitAlgorithm;
  /** Points per window. */
  readonly requests: number;
  readonly windowMs: number;
  /** Most points that can be free at a time: the size of a token bucket, `requests` for windows. */
  readonly burst: number;
}

/** Points to be taken from one key of one limit. */
export interface LimitCharge {
  readonly rule: LimitRule;
  readonly key: string;
  /** Points; a positive integer where they are taken. */
  readonly cost: number;
}

/** What became of a check. */
export interface LimitOutcome {
  readonly allowed: boolean;
  /** One for each charge, in their order. */
  readonly verdicts: readonly LimitVerdict[];
}

/** A charge that was counted. */
export interface PaidCharge extends LimitCharge {
  /** As in the verdict of the check that counted it. */
  readonly receipt: number;
}

/** The counts of some limits. All members but `close` reject when the counts cannot be reached. */
export interface LimitCounters {
  /** Takes the points of every charge, or of none when one of them has no room. Nobody sees a part of it. */
  charge(charges: readonly LimitCharge[]): LimitOutcome | Promise<LimitOutcome>;
  /** How the keys stand, without counting. */
  peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]>;
  /** Gives points of windows back, as far as they still count. */
  refund(charges: readonly PaidCharge[]): Promise<void>;
  /** Forgets what the keys have used; resolves with how many had used something. */
  reset(charges: readonly LimitCharge[]): Promise<number>;
  /** Counts calls in progress where the points are counted. Absent: each process counts its own. */
  slots?(rules: readonly SlotRule[]): LimitSlots;
  /** Lets go of timers, memory and connections. Idempotent. */
  close(): Promise<void>;
}

/** Where counts are kept: in this process (the default), in Redis, in the primary of a `node:cluster`. */
export interface LimitStore {
  /** Begins to count; called once by the limiter that was given the store. */
  open(rules: readonly LimitRule[], options: { readonly maxKeys: number; readonly clock: Clock }): LimitCounters;
}
