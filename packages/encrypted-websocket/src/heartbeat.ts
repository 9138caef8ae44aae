import type { CancelTimer, Clock } from '@mcp-blocks/core';
import { MAX_TIMER_MS } from './option-checks.js';

/** Options of {@link Heartbeat}. */
export interface HeartbeatOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Sends a ping frame. */
  ping(): void;
  /** Bytes received on the socket so far: a large message on its way is a sign of life too. */
  bytesRead(): number;
  /** Nothing came for `intervalMs + timeoutMs`. Called once; the heartbeat has stopped. */
  onTimeout(): void;
}

/**
 * Pings the peer every `intervalMs` and notices when nothing comes from it for `intervalMs + timeoutMs`.
 *
 * Any frame is a sign of life, not only a pong: an end that has stopped reading (back-pressure) does not
 * see pings, but goes on sending its own.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #cancelPing: CancelTimer | undefined;
  #cancelDeadline: CancelTimer | undefined;
  #seenAt = 0;
  #seenBytes = 0;
  #suspended = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.seen();
    this.#schedulePing();
    this.#watch(this.#limitMs);
  }

  /** Something came from the peer. */
  seen(): void {
    this.#seenAt = this.#options.clock.now();
    this.#seenBytes = this.#options.bytesRead();
  }

  /** While this end does not read, silence says nothing about the peer; pings go on. */
  suspend(): void {
    this.#suspended = true;
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
  }

  resume(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    if (this.#cancelPing === undefined) return;
    this.seen();
    this.#watch(this.#limitMs);
  }

  stop(): void {
    this.#cancelPing?.();
    this.#cancelPing = undefined;
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
  }

  get #limitMs(): number {
    return this.#options.intervalMs + this.#options.timeoutMs;
  }

  #schedulePing(): void {
    this.#cancelPing = this.#options.clock.setTimeout(() => {
      this.#schedulePing();
      this.#options.ping();
    }, this.#options.intervalMs);
  }

  #watch(delayMs: number): void {
    this.#cancelDeadline = this.#options.clock.setTimeout(
      () => {
        if (this.#options.bytesRead() !== this.#seenBytes) this.seen();
        const remainingMs = this.#seenAt + this.#limitMs - this.#options.clock.now();
        if (remainingMs > 0) return this.#watch(remainingMs);
        this.stop();
        this.#options.onTimeout();
      },
      Math.min(delayMs, MAX_TIMER_MS),
    );
  }
}
