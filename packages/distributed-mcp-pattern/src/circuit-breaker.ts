import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** `closed`: requests pass. `open`: none do. `half-open`: one does, and its outcome decides. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** What {@link CircuitBreaker.snapshot} tells. */
export interface CircuitSnapshot {
  readonly state: CircuitState;
  /** Failures in a row while closed. */
  readonly consecutiveFailures: number;
  /** Times it went from closed or half-open to open. */
  readonly trips: number;
  /** Epoch milliseconds at which an open circuit lets a probe through. */
  readonly retryAt?: number;
}

/** Options of {@link CircuitBreaker}. */
export interface CircuitBreakerOptions {
  /** Failures in a row that open the circuit; a positive integer. */
  readonly failureThreshold: number;
  /** Milliseconds an open circuit waits before it lets a probe through; a positive integer. */
  readonly resetTimeoutMs: number;
  readonly clock: Clock;
  /** Told after every change of whether requests may pass. */
  readonly onChange?: () => void;
  /** Told of every change of state, before `onChange`. */
  readonly onTransition?: (from: CircuitState, to: CircuitState) => void;
}

/** The right to send one request. Exactly one of its methods is called, when the outcome is known. */
export interface CircuitPermit {
  success(): void;
  failure(): void;
  /** The request ended without saying anything about the node: it was cancelled. */
  release(): void;
}

/**
 * Stops sending to a node that fails. Opens after `failureThreshold` failures in a row; after
 * `resetTimeoutMs` a single request probes, and closes the circuit again or reopens it.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #state: CircuitState = 'closed';
  #failures = 0;
  #trips = 0;
  #retryAt = 0;
  #probing = false;
  /** Outcomes of requests sent before the last change of state say nothing about the present. */
  #epoch = 0;
  #cancelTimer: CancelTimer | undefined;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** Whether {@link acquire} would give a permit. */
  get permits(): boolean {
    return this.#state === 'closed' || (this.#state === 'half-open' && !this.#probing);
  }

  snapshot(): CircuitSnapshot {
    return {
      state: this.#state,
      consecutiveFailures: this.#failures,
      trips: this.#trips,
      ...(this.#state === 'open' ? { retryAt: this.#retryAt } : {}),
    };
  }

  /** Asks to send one request; `undefined` when none may pass. */
  acquire(): CircuitPermit | undefined {
    if (!this.permits) return undefined;
    const epoch = this.#epoch;
    if (this.#state === 'half-open') {
      this.#probing = true;
      this.#options.onChange?.();
    }
    let settled = false;
    const settle = (outcome: () => void) => () => {
      if (settled) return;
      settled = true;
      if (epoch === this.#epoch) outcome();
    };
    return {
      success: settle(() => this.#onSuccess()),
      failure: settle(() => this.#onFailure()),
      release: settle(() => this.#onRelease()),
    };
  }

  /** Ends its timer. */
  close(): void {
    this.#cancelTimer?.();
    this.#epoch += 1;
  }

  #onSuccess(): void {
    this.#failures = 0;
    if (this.#state === 'half-open') this.#enter('closed');
  }

  #onFailure(): void {
    this.#failures += 1;
    if (this.#state === 'half-open' || this.#failures >= this.#options.failureThreshold) this.#open();
  }

  #onRelease(): void {
    if (this.#state !== 'half-open') return;
    this.#probing = false;
    this.#options.onChange?.();
  }

  #open(): void {
    const { clock, resetTimeoutMs } = this.#options;
    this.#trips += 1;
    this.#retryAt = clock.now() + resetTimeoutMs;
    this.#cancelTimer = clock.setTimeout(() => this.#enter('half-open'), resetTimeoutMs);
    this.#enter('open');
  }

  #enter(state: CircuitState): void {
    const before = this.#state;
    this.#state = state;
    this.#probing = false;
    this.#epoch += 1;
    if (state === 'closed') this.#failures = 0;
    this.#options.onTransition?.(before, state);
    this.#options.onChange?.();
  }
}
