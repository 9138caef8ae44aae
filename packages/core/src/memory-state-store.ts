import { type Clock, systemClock } from './clock.js';
import { RpcError } from './errors.js';
import type { JsonValue } from './json.js';
import type { Lock, SetOptions, StateStore } from './state.js';
import { stateArguments } from './state-arguments.js';

interface Entry {
  /** Kept as text, so that neither side can change the other's copy. */
  readonly text: string;
  readonly expiresAt: number;
}

/** Options of {@link MemoryStateStore}. */
export interface MemoryStateStoreOptions {
  readonly clock?: Clock;
  /** Makes lock tokens. Default: `crypto.randomUUID`. */
  readonly newToken?: () => string;
}

/** {@link StateStore} within one process. Expired entries and locks go when touched and by a sweep every 1,000 writes. */
export class MemoryStateStore implements StateStore {
  readonly #clock: Clock;
  readonly #newToken: () => string;
  readonly #entries = new Map<string, Entry>();
  readonly #locks = new Map<string, { readonly token: string; expiresAt: number }>();
  readonly #channels = new Map<string, Set<(text: string) => void>>();
  /** One count for all locks: it grows for each of them, and takes no memory per key. */
  #fence = 0;
  #writes = 0;
  #closed = false;

  constructor(options: MemoryStateStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#newToken = options.newToken ?? (() => crypto.randomUUID());
  }

  async get(key: string): Promise<JsonValue | undefined> {
    const entry = this.#live(key);
    return entry === undefined ? undefined : (JSON.parse(entry.text) as JsonValue);
  }

  async set(key: string, value: JsonValue, options: SetOptions = {}): Promise<boolean> {
    const entry = { text: stateArguments.text(value), expiresAt: this.#expiry(options.ttlMs) };
    const live = this.#live(key);
    if (options.ifAbsent && live !== undefined) return false;
    this.#write(key, entry);
    return true;
  }

  async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { readonly ttlMs?: number } = {}): Promise<boolean> {
    const text = stateArguments.text(next);
    const expiresAt = this.#expiry(options.ttlMs);
    const entry = this.#live(key);
    if (entry === undefined || entry.text !== stateArguments.text(expected)) return false;
    this.#write(key, { text, expiresAt: options.ttlMs === undefined ? entry.expiresAt : expiresAt });
    return true;
  }

  async delete(key: string): Promise<boolean> {
    const live = this.#live(key) !== undefined;
    this.#entries.delete(key);
    return live;
  }

  async increment(key: string, by: number, options: { readonly ttlMs?: number } = {}): Promise<number> {
    stateArguments.by(by);
    const expiresAt = this.#expiry(options.ttlMs);
    const entry = this.#live(key);
    const sum = stateArguments.sum(key, entry?.text, by);
    this.#write(key, { text: String(sum), expiresAt: entry?.expiresAt ?? expiresAt });
    return sum;
  }

  async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    const expiresAt = this.#expiry(ttlMs);
    if (this.#held(key) !== undefined) return undefined;
    const token = this.#newToken();
    this.#locks.set(key, { token, expiresAt });
    this.#fence += 1;
    this.#countWrite();
    return { token, fencingToken: this.#fence };
  }

  async extendLock(key: string, token: string, ttlMs: number): Promise<boolean> {
    const expiresAt = this.#expiry(ttlMs);
    const held = this.#held(key);
    if (held?.token !== token) return false;
    held.expiresAt = expiresAt;
    return true;
  }

  async releaseLock(key: string, token: string): Promise<boolean> {
    return this.#held(key)?.token === token && this.#locks.delete(key);
  }

  async publish(channel: string, message: JsonValue): Promise<void> {
    this.#assertOpen();
    const text = stateArguments.text(message);
    for (const deliver of [...(this.#channels.get(stateArguments.key(channel)) ?? [])]) deliver(text);
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    this.#assertOpen();
    const subscribers = this.#channels.get(stateArguments.key(channel)) ?? new Set();
    const deliver = (text: string) =>
      queueMicrotask(() => {
        if (!subscribers.has(deliver)) return;
        try {
          listener(JSON.parse(text) as JsonValue);
        } catch {
          // A listener's failure is its own.
        }
      });
    this.#channels.set(channel, subscribers);
    subscribers.add(deliver);
    return async () => {
      subscribers.delete(deliver);
      if (subscribers.size === 0 && this.#channels.get(channel) === subscribers) this.#channels.delete(channel);
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#entries.clear();
    this.#locks.clear();
    for (const subscribers of this.#channels.values()) subscribers.clear();
    this.#channels.clear();
  }

  #assertOpen(): void {
    if (this.#closed) throw new RpcError('internal_error', 'The state store is closed');
  }

  #expiry(ttlMs: number | undefined): number {
    return this.#clock.now() + (stateArguments.ttlMs(ttlMs) ?? Number.POSITIVE_INFINITY);
  }

  #live(key: string): Entry | undefined {
    this.#assertOpen();
    const entry = this.#entries.get(stateArguments.key(key));
    if (entry !== undefined && entry.expiresAt <= this.#clock.now()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  #held(key: string): { readonly token: string; expiresAt: number } | undefined {
    this.#assertOpen();
    const held = this.#locks.get(stateArguments.key(key));
    return held !== undefined && held.expiresAt > this.#clock.now() ? held : undefined;
  }

  #write(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#countWrite();
  }

  #countWrite(): void {
    this.#writes += 1;
    if (this.#writes % 1000 !== 0) return;
    const now = this.#clock.now();
    for (const [key, { expiresAt }] of this.#entries) if (expiresAt <= now) this.#entries.delete(key);
    for (const [key, { expiresAt }] of this.#locks) if (expiresAt <= now) this.#locks.delete(key);
  }
}
