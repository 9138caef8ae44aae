import type { Clock } from '@mcp-blocks/core';

/** Options of {@link SlowStart}. */
export interface SlowStartOptions {
  /** How long it takes to the full share, in milliseconds. */
  readonly windowMs: number;
  /** The least share, above 0, at most 1. */
  readonly minShare: number;
  /** 1: the share grows evenly; more: quickly at first; less: slowly at first. Above 0. */
  readonly aggression: number;
  readonly clock: Clock;
}

/**
 * How much of its part of the traffic a node gets after it has come (back): max(minShare, t^(1/aggression))
 * of it, where t goes from 0 to 1 over the window, as in Envoy. Time starts to count with the first request
 * that succeeds, so that a node that only passes checks never gets more than the least.
 */
export class SlowStart {
  readonly #options: SlowStartOptions;
  /** Since when it grows; `undefined` while the first success is awaited. */
  #since: number | undefined;
  #running = false;

  constructor(options: SlowStartOptions) {
    this.#options = options;
  }

  /** Above 0; 1 is all. */
  get share(): number {
    if (!this.#running) return 1;
    const { windowMs, minShare, aggression, clock } = this.#options;
    if (this.#since === undefined) return minShare;
    const grown = Math.max(0, clock.now() - this.#since) / windowMs;
    if (grown < 1) return Math.max(minShare, grown ** (1 / aggression));
    this.#running = false;
    return 1;
  }

  /** The node has come or come back. */
  restart(): void {
    this.#running = true;
    this.#since = undefined;
  }

  /** A request was answered. */
  succeeded(): void {
    if (this.#running) this.#since ??= this.#options.clock.now();
  }
}
