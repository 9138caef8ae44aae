import { type Clock, type Random, RetryBudget, type RpcError } from '@mcp-blocks/core';
import { backoffDelay } from './backoff.js';

/** Options of {@link RetryPolicy}. Times in milliseconds. */
export interface RetryPolicyOptions {
  /** One request reaches a server at most once more than this. */
  readonly maxAttempts: number;
  readonly initialDelayMs: number;
  readonly maxDelayMs: number;
  /** Retries per request, over the last ten seconds. */
  readonly budgetRatio: number;
  /** Retries per second whatever the requests. */
  readonly minPerSecond: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Answers that may be others a little later. A server that is still busy with a request is not asked again. */
const TRANSIENT: ReadonlySet<string> = new Set(['rate_limited', 'unavailable', 'upstream_error', 'ambiguous_outcome']);

/** When to send a request again that the server has answered with an error. Whether it may be is not decided here. */
export class RetryPolicy {
  readonly #options: RetryPolicyOptions;
  readonly #budget: RetryBudget;

  constructor(options: RetryPolicyOptions) {
    this.#options = options;
    this.#budget = new RetryBudget({ ratio: options.budgetRatio, minPerSecond: options.minPerSecond }, options.clock);
  }

  /** Whether a request that has reached a server so often may reach one again. It is a bound for requests that kill their server. */
  mayDeliver(deliveries: number): boolean {
    return deliveries <= this.#options.maxAttempts;
  }

  /** Counts a request, not its retries. */
  noteRequest(): void {
    this.#budget.noteCall();
  }

  /**
   * Milliseconds to wait before the next retry, taken from the budget; `undefined`: do not retry.
   *
   * @param deliveries - how often the request has reached a server.
   * @param timeLeftMs - until whoever waits gives up.
   */
  delay(error: RpcError, deliveries: number, timeLeftMs: number): number | undefined {
    const { initialDelayMs, maxDelayMs, random } = this.#options;
    if (!TRANSIENT.has(error.code) || !this.mayDeliver(deliveries)) return undefined;
    const jitter = backoffDelay(deliveries, { initialDelay: initialDelayMs, maxDelay: maxDelayMs, backoffMultiplier: 2 }, random);
    // On top of what the server asks for, so that those it sent away together do not come back together.
    const delayMs = (pushbackMs(error.data) ?? 0) + jitter;
    // Who cannot wait that long learns it now.
    return delayMs < timeLeftMs && this.#budget.takeRetry() ? delayMs : undefined;
  }
}

/** How long the server asks to be left alone: `retryAfterMs` of an error's data. */
export function pushbackMs(data: unknown): number | undefined {
  const asked = (data as { retryAfterMs?: unknown } | undefined)?.retryAfterMs;
  return typeof asked === 'number' && asked > 0 ? asked : undefined;
}
