import type { JsonValue } from './json.js';

/** How {@link StateStore.set} writes. */
export interface SetOptions {
  /** Milliseconds until the entry is gone; a positive integer. Default: it stays. */
  readonly ttlMs?: number;
  /** Write only when the key has no live entry. Default: false. */
  readonly ifAbsent?: boolean;
}

/** A held lock. */
export interface Lock {
  /** Proves ownership to {@link StateStore.releaseLock} and {@link StateStore.extendLock}. */
  readonly token: string;
  /** Grows with every acquisition of the same key; a resource refuses smaller ones than it has seen. */
  readonly fencingToken: number;
}

/**
 * State that several server processes share: sessions, limits, locks, idempotency records, events.
 * Every driver passes `stateStoreContract` of `@mcp-blocks/core/testing`.
 *
 * Keys are non-empty strings; values are JSON, and equal whatever the order of their members. Each method
 * is atomic. A store whose backend cannot be reached rejects with `RpcError` `unavailable`, a closed one
 * with `internal_error`; a wrong argument, or a counter that is none, with `invalid_params`.
 */
export interface StateStore {
  /** The live value, or `undefined`. */
  get(key: string): Promise<JsonValue | undefined>;
  /** Writes; resolves with whether it wrote (always true without `ifAbsent`). */
  set(key: string, value: JsonValue, options?: SetOptions): Promise<boolean>;
  /** Replaces the value if it still equals `expected`, keeping the remaining lifetime unless given one. */
  compareAndSet(key: string, expected: JsonValue, next: JsonValue, options?: { readonly ttlMs?: number }): Promise<boolean>;
  /** Removes; resolves with whether there was a live entry. */
  delete(key: string): Promise<boolean>;
  /** Adds `by` (an integer) to a counter that starts at 0 and resolves with the sum. `ttlMs` applies when the counter is created. */
  increment(key: string, by: number, options?: { readonly ttlMs?: number }): Promise<number>;
  /** Takes the lock for `ttlMs`, or resolves with `undefined` when somebody holds it. Does not wait. */
  acquireLock(key: string, ttlMs: number): Promise<Lock | undefined>;
  /** Prolongs a lock that is still held with this token; resolves with whether it was. */
  extendLock(key: string, token: string, ttlMs: number): Promise<boolean>;
  /** Gives the lock back; resolves with whether it was still held with this token. */
  releaseLock(key: string, token: string): Promise<boolean>;
  /** Sends to every current subscriber of the channel, in this process and in others. */
  publish(channel: string, message: JsonValue): Promise<void>;
  /**
   * Listens on a channel once resolved; the returned function ends it. Messages of one publisher arrive in
   * order. What is published while the backend is out of reach may be missed. A listener that throws harms
   * no other.
   */
  subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>>;
  /** Ends timers and connections. Idempotent. */
  close(): Promise<void>;
}
