import type { CancelTimer, Clock, Random } from '@mcp-blocks/core';
import { abortable } from './abortable.js';

/** What active checks have found. `unknown` until the first one is over; `degraded`: it answers, but slowly. */
export type HealthState = 'unknown' | 'healthy' | 'degraded' | 'unhealthy';

/** Options of {@link HealthMonitor}; times in milliseconds. */
export interface HealthMonitorOptions {
  /** Time between two checks of a node, shortened by up to a tenth at random. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Passing checks in a row that bring an unhealthy node back. */
  readonly healthyThreshold: number;
  /** Failing checks in a row that take a healthy node out. */
  readonly unhealthyThreshold: number;
  /** A passing check that takes longer is slow; as many in a row as the thresholds degrade a node and restore it. */
  readonly degradedLatencyMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves when the node answers. */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** Told after every check, with the state before it. */
  readonly onCheck: (before: HealthState, passed: boolean) => void;
}

/** Asks one node regularly whether it answers. The first check decides alone, later ones by the thresholds. */
export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  readonly #abort = new AbortController();
  #state: HealthState = 'unknown';
  #passes = 0;
  #failures = 0;
  #slow = 0;
  #fast = 0;
  #lastCheckAt: number | undefined;
  #lastError: string | undefined;
  #cancelNext: CancelTimer | undefined;
  #running: Promise<void> | undefined;

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  get state(): HealthState {
    return this.#state;
  }

  /** Epoch milliseconds. */
  get lastCheckAt(): number | undefined {
    return this.#lastCheckAt;
  }

  /** Why the last check failed; `undefined` when it passed. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Checks now and from then on. Resolves when the first check is over. */
  start(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  /** Ends the checks; one in progress is given up. */
  stop(): void {
    this.#abort.abort(new Error('The health checks have ended'));
    this.#cancelNext?.();
  }

  async #run(): Promise<void> {
    const { clock, timeoutMs, intervalMs, random, check } = this.#options;
    const deadline = new AbortController();
    const cancelDeadline = clock.setTimeout(() => deadline.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const signal = AbortSignal.any([deadline.signal, this.#abort.signal]);
    const startedAt = clock.now();
    let error: unknown;
    try {
      await abortable(check(signal), signal);
    } catch (failure) {
      error = failure;
    } finally {
      cancelDeadline();
    }
    if (this.#abort.signal.aborted) return;
    this.#record(error, clock.now() - startedAt);
    this.#cancelNext = clock.setTimeout(() => void this.#run(), intervalMs * (1 - 0.1 * random()));
  }

  #record(error: unknown, latencyMs: number): void {
    const { clock, onCheck } = this.#options;
    const before = this.#state;
    this.#lastCheckAt = clock.now();
    this.#lastError = error === undefined ? undefined : error instanceof Error ? error.message : String(error);
    this.#state = error === undefined ? this.#afterPass(latencyMs) : this.#afterFailure();
    onCheck(before, error === undefined);
  }

  #afterPass(latencyMs: number): HealthState {
    const { healthyThreshold, unhealthyThreshold, degradedLatencyMs = Number.POSITIVE_INFINITY } = this.#options;
    this.#failures = 0;
    this.#passes += 1;
    const slow = latencyMs > degradedLatencyMs;
    this.#slow = slow ? this.#slow + 1 : 0;
    this.#fast = slow ? 0 : this.#fast + 1;
    if (this.#state === 'unknown') return 'healthy';
    if (this.#state === 'unhealthy' && this.#passes < healthyThreshold) return 'unhealthy';
    if (this.#slow >= unhealthyThreshold) return 'degraded';
    return this.#state === 'degraded' && this.#fast < healthyThreshold ? 'degraded' : 'healthy';
  }

  #afterFailure(): HealthState {
    this.#passes = 0;
    this.#slow = 0;
    this.#fast = 0;
    this.#failures += 1;
    return this.#state === 'unknown' || this.#failures >= this.#options.unhealthyThreshold ? 'unhealthy' : this.#state;
  }
}
