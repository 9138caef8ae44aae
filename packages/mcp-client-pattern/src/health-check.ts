import { type CancelTimer, type Clock, RpcError } from '@mcp-blocks/core';
import { type Connection, ConnectionLostError } from './connection.js';

/** Options of {@link HealthCheck}. */
export interface HealthCheckOptions {
  /** Milliseconds between probes. */
  readonly intervalMs: number;
  /** A probe unanswered for this long means that the connection is dead. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  connection(): Connection | undefined;
  lost(connection: Connection, error: Error): void;
  answered(roundTripMs: number): void;
}

/** Probes the connection with the cheapest request of its era, beside the queue. */
export class HealthCheck {
  readonly #options: HealthCheckOptions;
  #cancelTimer: CancelTimer | undefined;
  #probe: AbortController | undefined;
  #stopped = false;

  constructor(options: HealthCheckOptions) {
    this.#options = options;
  }

  /** Starts if it has not. */
  start(): void {
    if (this.#stopped || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#options.clock.setTimeout(() => {
      void this.#run().finally(() => {
        this.#cancelTimer = undefined;
        this.start();
      });
    }, this.#options.intervalMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#probe?.abort(new RpcError('cancelled', 'The client has been closed'));
  }

  async #run(): Promise<void> {
    const { clock, timeoutMs } = this.#options;
    const connection = this.#options.connection();
    if (connection === undefined) return;
    const probe = new AbortController();
    this.#probe = probe;
    const sentAt = clock.now();
    const late = new RpcError('timeout', `The connection did not answer a probe within ${timeoutMs} ms`);
    const cancelTimer = clock.setTimeout(() => probe.abort(late), timeoutMs);
    try {
      await connection.request(connection.era === 'modern' ? 'server/discover' : 'ping', {}, { signal: probe.signal });
      this.#options.answered(clock.now() - sentAt);
    } catch (error) {
      if (probe.signal.reason === late) this.#options.lost(connection, late);
      else if (error instanceof ConnectionLostError) this.#options.lost(connection, error);
      // Any other error is an answer: the server is there.
    } finally {
      cancelTimer();
    }
  }
}
