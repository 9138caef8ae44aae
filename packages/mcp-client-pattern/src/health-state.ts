/**
 * `unknown`: never connected, or closed. `healthy`: connected. `degraded`: connected, and slow
 * (`degradedLatencyMs`). `unhealthy`: not connected, after a failure or a loss.
 */
export type Health = 'unknown' | 'healthy' | 'degraded' | 'unhealthy';

/** A degraded connection is healthy again below this share of the limit, so that it does not flicker at the limit. */
const RECOVERED = 0.8;

/** Judges a client by its connection and the moving average of its round trips. */
export class HealthState {
  readonly #degradedLatencyMs: number;
  #health: Health = 'unknown';

  constructor(degradedLatencyMs = Number.POSITIVE_INFINITY) {
    this.#degradedLatencyMs = degradedLatencyMs;
  }

  get value(): Health {
    return this.#health;
  }

  /** @returns whether the judgement has changed. */
  judge(state: string, failed: boolean, averageMs: number | null): boolean {
    const before = this.#health;
    if (state === 'connected') {
      const limitMs = this.#degradedLatencyMs * (before === 'degraded' ? RECOVERED : 1);
      this.#health = (averageMs ?? 0) > limitMs ? 'degraded' : 'healthy';
    } else this.#health = state !== 'closed' && failed ? 'unhealthy' : 'unknown';
    return this.#health !== before;
  }
}
