/** How a key stands with one limit, after the check that answers with it. */
export interface LimitUse {
  /** Points of the limit that are taken. */
  readonly used: number;
  /** Points that can still be taken now. */
  readonly remaining: number;
  /** Milliseconds until nothing is taken any more if nobody calls; 0 when nothing is. */
  readonly resetMs: number;
}

/** Whether a call has room. */
export interface LimitVerdict extends LimitUse {
  readonly allowed: boolean;
  /** Milliseconds until there is room; 0 when there is, `Infinity` when the call costs more than the limit ever has. */
  readonly retryAfterMs: number;
  /** Names what was counted, for giving it back; 0 when nothing was. */
  readonly receipt: number;
}

/** One algorithm, counting in this process for any number of keys, at once: nobody else counts between two calls in one turn. Costs are integers: positive to consume, from 0 on to peek. */
export interface Limiter {
  /** Whether `cost` points have room, without counting. */
  peek(key: string, cost: number): LimitVerdict;
  /** Counts `cost` points if they have room, else nothing. */
  consume(key: string, cost: number): LimitVerdict;
  /** Takes back what was counted under `receipt`, as far as it still counts. Windows only. */
  refund?(key: string, cost: number, receipt: number): void;
  /** Forgets what the key has used; answers whether there was anything. */
  reset(key: string): boolean;
  /** Forgets every key. */
  clear(): void;
}
