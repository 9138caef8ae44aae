import { type CancelTimer, type Clock, RpcError } from '@mcp-blocks/core';
import { type Connection, ConnectionLostError } from './connection.js';

/** Options of {@link HealthMonitor}. Times in milliseconds. */
export interface HealthMonitorOptions {
  /** A connection silent for this long is probed. */
  readonly intervalMs: number;
  /** One that owes an answer is probed after this long, and one that does not answer a probe for this long is dead. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  connection(): Connection | undefined;
  /** Requests sent and not answered. */
  outstanding(): number;
  /** @param dead - nothing can be expected of it any longer. */
  lost(connection: Connection, error: Error, dead: boolean): void;
  answered(roundTripMs: number): void;
}

/**
 * Finds dead connections and keeps idle ones open. Whatever comes from the server is a sign of life; only
 * after silence is it asked for one, with the cheapest request of its era and beside the queue.
 */
export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  #cancelTimer: CancelTimer | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #probe: AbortController | undefined;
  #heardAt = 0;
  /** Since when the server has owed an answer without a break. */
  #owingSince = 0;
  #stopped = false;

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  /** There is a new connection. */
  connected(): void {
    this.#probe?.abort(new RpcError('cancelled', 'The connection has been replaced'));
    this.heard();
    this.#arm();
  }

  /** There is a sign of life. */
  heard(): void {
    this.#heardAt = this.#options.clock.now();
  }

  /** A request was sent. */
  sent(): void {
    if (this.#options.outstanding() > 1) return;
    this.#owingSince = this.#options.clock.now();
    if (this.#dueAt > this.#probeAt()) this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#probe?.abort(new RpcError('cancelled', 'The client has been closed'));
  }

  /** Looks again when a probe could be due at the earliest. */
  #arm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#dueAt = Number.POSITIVE_INFINITY;
    if (this.#stopped || this.#probe !== undefined || this.#options.connection() === undefined) return;
    const { clock } = this.#options;
    this.#dueAt = this.#probeAt();
    this.#cancelTimer = clock.setTimeout(() => this.#due(), Math.max(1, this.#dueAt - clock.now()));
  }

  #probeAt(): number {
    const { intervalMs, timeoutMs, outstanding } = this.#options;
    const idle = this.#heardAt + intervalMs;
    return outstanding() > 0 ? Math.min(idle, Math.max(this.#heardAt, this.#owingSince) + timeoutMs) : idle;
  }

  #due(): void {
    const { clock, connection } = this.#options;
    const current = connection();
    if (current === undefined || clock.now() < this.#probeAt()) {
      this.#arm();
      return;
    }
    const probe = new AbortController();
    this.#probe = probe;
    void this.#ask(current, probe).finally(() => {
      this.#probe = undefined;
      this.#arm();
    });
  }

  async #ask(connection: Connection, probe: AbortController): Promise<void> {
    const { clock, timeoutMs, lost, answered } = this.#options;
    const sentAt = clock.now();
    const late = new RpcError('timeout', `The server did not answer a probe within ${timeoutMs} ms`);
    const cancelTimer = clock.setTimeout(() => probe.abort(late), timeoutMs);
    try {
      await connection.request(connection.era === 'modern' ? 'server/discover' : 'ping', {}, { signal: probe.signal });
      this.heard();
      answered(clock.now() - sentAt);
    } catch (error) {
      // Anything heard meanwhile shows that it lives, if slowly.
      if (probe.signal.reason === late && this.#heardAt <= sentAt) lost(connection, late, true);
      else if (error instanceof ConnectionLostError) lost(connection, error, false);
      // Any other error is an answer: the server is there.
      else if (!probe.signal.aborted) this.heard();
    } finally {
      cancelTimer();
    }
  }
}
