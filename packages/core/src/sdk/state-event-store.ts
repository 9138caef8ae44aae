import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server';
import { type Clock, systemClock } from '../clock.js';
import { isJsonObject, type JsonObject } from '../json.js';
import type { StateStore } from '../state.js';

/** Options of {@link StateEventStore}. */
export interface StateEventStoreOptions {
  /** Distinguishes this session's events from all others in the store. */
  readonly key: string;
  /** Milliseconds an event is kept. */
  readonly ttlMs: number;
  /** Most events kept, of all streams of the session together; the oldest go first. Default: 256. */
  readonly maxEvents?: number;
  /** A larger event is sent and not kept; streams cannot be resumed across it. Default: 262 144 (256 KiB). */
  readonly maxEventBytes?: number;
  /** Told when an event could not be kept. It is sent all the same. */
  readonly onError?: (error: Error) => void;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const KEEP_ATTEMPTS = 5;

/**
 * An SDK `EventStore` for one legacy session on a {@link StateStore}: a client resumes a broken stream with
 * `Last-Event-ID` on any server that shares the store (MCP 2025-11-25, transports, "Resumability and
 * Redelivery").
 */
export class StateEventStore implements EventStore {
  readonly #store: StateStore;
  readonly #options: Required<Omit<StateEventStoreOptions, 'onError' | 'clock'>>;
  readonly #onError: (error: Error) => void;
  readonly #clock: Clock;
  /** When the count's end was last put off. */
  #keptAt: number;

  constructor(store: StateStore, { onError = () => {}, clock = systemClock, ...options }: StateEventStoreOptions) {
    this.#store = store;
    this.#options = { maxEvents: 256, maxEventBytes: 256 * 1024, ...options };
    this.#onError = onError;
    this.#clock = clock;
    this.#keptAt = clock.now();
  }

  async storeEvent(streamId: string, message: JSONRPCMessage): Promise<string> {
    const { key, ttlMs, maxEvents, maxEventBytes } = this.#options;
    try {
      const number = await this.#store.increment(`${key}:count`, 1, { ttlMs });
      if (this.#clock.now() - this.#keptAt >= ttlMs / 4) await this.keep();
      const tooLarge = JSON.stringify(message).length > maxEventBytes;
      await this.#store.set(this.#event(number), { streamId, ...(tooLarge ? {} : { message: message as JsonObject }) }, { ttlMs });
      if (number > maxEvents) await this.#store.delete(this.#event(number - maxEvents));
      return String(number);
    } catch (error) {
      this.#onError(error as Error);
      // The event has to go out; only it cannot be resumed from.
      return `lost-${crypto.randomUUID()}`;
    }
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    return (await this.#read(eventId))?.streamId;
  }

  /** @throws Error when the event, or one that came after it on its stream, is not kept any more. */
  async replayEventsAfter(
    lastEventId: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const last = await this.#read(lastEventId);
    if (last === undefined) throw new Error('The event is no longer held');
    const newest = await this.#newest();
    for (let number = Number(lastEventId) + 1; number <= newest; number += 1) {
      const event = await this.#read(String(number));
      if (event?.streamId !== last.streamId) continue;
      if (event.message === undefined) throw new Error('An event after this one was too large to be held');
      // The SDK stores an empty message to have an id for the event that opens a stream.
      if ('jsonrpc' in event.message) await send(String(number), event.message as unknown as JSONRPCMessage);
    }
    return last.streamId;
  }

  /**
   * Puts off by `ttlMs` that events are numbered from 1 again. Storing events does it too; who keeps a session without
   * any does it at least once in `ttlMs`, or a client's `Last-Event-ID` comes to mean another event.
   */
  async keep(): Promise<void> {
    const { key, ttlMs } = this.#options;
    this.#keptAt = this.#clock.now();
    // Another one may count between the two steps.
    for (let attempt = 0; attempt < KEEP_ATTEMPTS; attempt += 1) {
      const count = await this.#store.get(`${key}:count`);
      if (count === undefined || (await this.#store.compareAndSet(`${key}:count`, count, count, { ttlMs }))) return;
    }
  }

  /** Forgets the session's events. */
  async clear(): Promise<void> {
    const { key, maxEvents } = this.#options;
    const newest = await this.#newest();
    const oldest = Math.max(1, newest - maxEvents + 1);
    for (let number = oldest; number <= newest; number += 1) await this.#store.delete(this.#event(number));
    await this.#store.delete(`${key}:count`);
  }

  async #newest(): Promise<number> {
    const count = await this.#store.get(`${this.#options.key}:count`);
    return typeof count === 'number' ? count : 0;
  }

  async #read(eventId: string): Promise<{ readonly streamId: string; readonly message?: JsonObject } | undefined> {
    if (!/^[1-9]\d{0,14}$/.test(eventId)) return undefined;
    const event = await this.#store.get(this.#event(Number(eventId)));
    if (!isJsonObject(event) || typeof event.streamId !== 'string') return undefined;
    return { streamId: event.streamId, ...(isJsonObject(event.message) ? { message: event.message } : {}) };
  }

  #event(number: number): string {
    return `${this.#options.key}:event:${number}`;
  }
}
