import { type Clock, RpcError } from '@mcp-blocks/core';
import { Deferred } from './deferred.js';
import { Timeout } from './timeout.js';

/** How long one caller waits for a shared piece of work. */
export interface Waiter {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** What is waited for, for error messages. */
  readonly what: string;
}

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly abort: AbortController;
  readonly stamp: number;
  readonly waiters: Set<Timeout>;
  isHeld: boolean;
}

/** @param hold - stops the time of those who wait, and lets it go on. */
export type Work<T> = (signal: AbortSignal, hold: (isHeld: boolean) => void) => Promise<T>;

/** Lets identical work in progress be done once. It is aborted when nobody waits for it any longer. */
export class SingleFlight<T> {
  readonly #clock: Clock;
  readonly #flights = new Map<string, Flight<T>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param stamp - work of another stamp is not joined: what it brings would be out of date.
   * @returns the outcome, and whether another caller's work was joined.
   */
  async run(key: string, stamp: number, waiter: Waiter, work: Work<T>): Promise<{ value: T; joined: boolean }> {
    const present = this.#flights.get(key);
    const joined = present !== undefined && present.stamp === stamp;
    const flight = joined ? present : this.#take(key, stamp, work);
    try {
      return { value: await this.#wait(flight, waiter), joined };
    } finally {
      if (flight.waiters.size === 0) {
        flight.abort.abort(new RpcError('cancelled', 'Nobody waits for the answer any longer'));
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
      }
    }
  }

  #take(key: string, stamp: number, work: Work<T>): Flight<T> {
    const abort = new AbortController();
    const waiters = new Set<Timeout>();
    const hold = (isHeld: boolean) => {
      flight.isHeld = isHeld;
      for (const waiter of waiters) waiter.hold(isHeld);
    };
    const flight: Flight<T> = { promise: work(abort.signal, hold), abort, stamp, waiters, isHeld: false };
    this.#flights.set(key, flight);
    const done = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.promise.then(done, done);
    return flight;
  }

  async #wait(flight: Flight<T>, { timeoutMs, signal, what }: Waiter): Promise<T> {
    const stopped = new Deferred<never>();
    const onAbort = () => stopped.reject(new RpcError('cancelled', `${what} was cancelled`, { cause: signal?.reason }));
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const timeout = new Timeout(this.#clock, timeoutMs, () =>
      stopped.reject(new RpcError('timeout', `No answer to ${what} within ${timeoutMs} ms`, { data: { timeoutMs } })),
    );
    if (flight.isHeld) timeout.hold(true);
    flight.waiters.add(timeout);
    try {
      return await Promise.race([flight.promise, stopped.promise]);
    } finally {
      flight.waiters.delete(timeout);
      timeout.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
