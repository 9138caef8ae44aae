import { type Clock, systemClock } from './clock.js';
import { RpcError } from './errors.js';
import type { JsonValue } from './json.js';
import type { Lock, SetOptions, StateStore } from './state.js';

interface Entry {
  /** Kept as text, so that neither side can change the other's copy. */
  json: string;
  expiresAt: number;
}

/** Options of {@link MemoryStateStore}. */
export interface MemoryStateStoreOptions {
  readonly clock?: Clock;
  /** Makes lock tokens. Default: `crypto.randomUUID`. */
  readonly newToken?: () => string;
}

/** {@link StateStore} within one process. Expired entries go when touched and by a sweep every 1,000 writes. */
export class MemoryStateStore implements StateStore {
  readonly #clock: Clock;
  readonly #newToken: () => string;
  readonly #entries = new Map<string, Entry>();
  readonly #locks = new Map<string, { token: string; expiresAt: number }>();
  readonly #fences = new Map<string, number>();
  readonly #channels = new Map<string, Set<(json: string) => void>>();
  #writes = 0;
  #closed = false;

  constructor(options: MemoryStateStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#newToken = options.newToken ?? (() => crypto.randomUUID());
  }

  async get(key: string): Promise<JsonValue | undefined> {
    this.#assertOpen();
    const entry = this.#live(key);
    return entry === undefined ? undefined : (JSON.parse(entry.json) as JsonValue);
  }

  async set(key: string, value: JsonValue, options: SetOptions = {}): Promise<boolean> {
    this.#assertOpen();
    if (options.ifAbsent && this.#live(key) !== undefined) return false;
    this.#write(key, { json: JSON.stringify(value), expiresAt: this.#expiry(options.ttlMs) });
    return true;
  }

  async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { readonly ttlMs?: number } = {}): Promise<boolean> {
    this.#assertOpen();
    const entry = this.#live(key);
    if (entry === undefined || entry.json !== JSON.stringify(expected)) return false;
    const expiresAt = options.ttlMs === undefined ? entry.expiresAt : this.#expiry(options.ttlMs);
    this.#write(key, { json: JSON.stringify(next), expiresAt });
    return true;
  }

  async delete(key: string): Promise<boolean> {
    this.#assertOpen();
    const live = this.#live(key) !== undefined;
    this.#entries.delete(key);
    return live;
  }

  async increment(key: string, by: number, options: { readonly ttlMs?: number } = {}): Promise<number> {
    this.#assertOpen();
    const entry = this.#live(key);
    const current = entry === undefined ? 0 : (JSON.parse(entry.json) as JsonValue);
    if (typeof current !== 'number') throw new RpcError('invalid_params', `State key '${key}' does not hold a counter`);
    const sum = current + by;
    this.#write(key, { json: JSON.stringify(sum), expiresAt: entry?.expiresAt ?? this.#expiry(options.ttlMs) });
    return sum;
  }

  async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    this.#assertOpen();
    const now = this.#clock.now();
    const held = this.#locks.get(key);
    if (held !== undefined && held.expiresAt > now) return undefined;
    const fencingToken = (this.#fences.get(key) ?? 0) + 1;
    this.#fences.set(key, fencingToken);
    const token = this.#newToken();
    this.#locks.set(key, { token, expiresAt: this.#expiry(ttlMs) });
    return { token, fencingToken };
  }

  async extendLock(key: string, token: string, ttlMs: number): Promise<boolean> {
    this.#assertOpen();
    const held = this.#holder(key, token);
    if (held === undefined) return false;
    held.expiresAt = this.#expiry(ttlMs);
    return true;
  }

  async releaseLock(key: string, token: string): Promise<boolean> {
    this.#assertOpen();
    if (this.#holder(key, token) === undefined) return false;
    this.#locks.delete(key);
    return true;
  }

  async publish(channel: string, message: JsonValue): Promise<void> {
    this.#assertOpen();
    const json = JSON.stringify(message);
    for (const deliver of [...(this.#channels.get(channel) ?? [])]) deliver(json);
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    this.#assertOpen();
    const deliver = (json: string) => queueMicrotask(() => subscribers.has(deliver) && listener(JSON.parse(json) as JsonValue));
    const subscribers = this.#channels.get(channel) ?? new Set();
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
    if (ttlMs === undefined) return Number.POSITIVE_INFINITY;
    if (!Number.isInteger(ttlMs) || ttlMs <= 0) throw new RpcError('invalid_params', `ttlMs: expected a positive integer, got ${ttlMs}`);
    return this.#clock.now() + ttlMs;
  }

  #live(key: string): Entry | undefined {
    if (key === '') throw new RpcError('invalid_params', 'State key: expected a non-empty string');
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.expiresAt <= this.#clock.now()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  #holder(key: string, token: string): { expiresAt: number } | undefined {
    const held = this.#locks.get(key);
    return held !== undefined && held.token === token && held.expiresAt > this.#clock.now() ? held : undefined;
  }

  #write(key: string, entry: Entry): void {
    if (key === '') throw new RpcError('invalid_params', 'State key: expected a non-empty string');
    this.#entries.set(key, entry);
    this.#writes += 1;
    if (this.#writes % 1000 === 0) {
      const now = this.#clock.now();
      for (const [name, { expiresAt }] of this.#entries) if (expiresAt <= now) this.#entries.delete(name);
    }
  }
}
