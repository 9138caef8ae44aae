import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import {
  type CancelTimer,
  type Clock,
  ConfigurationError,
  isRpcError,
  type JsonValue,
  type Lock,
  RpcError,
  type SetOptions,
  type StateStore,
  stateArguments,
  systemClock,
} from '@mcp-blocks/core';

/** Options of {@link SqliteStateStore}. */
export interface SqliteStateStoreOptions {
  /** The database file, made if need be; its tables are named `state_…`. On a local disk: network locks are not dependable. */
  readonly path: string;
  /** How often a store with subscribers looks for messages, in milliseconds, 1 to 10,000. Default: 50. */
  readonly pollIntervalMs?: number;
  /** Longest a call waits for another process that is writing, in milliseconds; 0 or more. Default: 5,000. */
  readonly busyTimeoutMs?: number;
  /** Lifetimes follow this clock: processes that share a file need the same one. Default: the machine's. */
  readonly clock?: Clock;
  /** Makes lock tokens. Default: `crypto.randomUUID`. */
  readonly newToken?: () => string;
}

/** How long a message stays for others to find. A process that cannot poll for that long misses messages. */
const MESSAGE_LIFETIME_MS = 60_000;
const SQLITE_BUSY = 5;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS state_entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS state_entries_expiry ON state_entries (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE IF NOT EXISTS state_locks (key TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS state_fence (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS state_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, message TEXT NOT NULL, sent_at INTEGER NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS state_messages_age ON state_messages (sent_at);
`;

interface Entry {
  readonly value: string;
  readonly expires_at: number | null;
}

interface Subscription {
  readonly channel: string;
  readonly listener: (message: JsonValue) => void;
  /** The last message before the subscription. */
  readonly after: number;
}

const OPEN_TIMEOUT_MS = 5_000;

/**
 * {@link StateStore} in an SQLite file, for several processes of one machine.
 *
 * Messages travel through a table that stores with subscribers poll: one arrives up to `pollIntervalMs`
 * after it was published. Writes survive a crash of the process; a power failure may take the last ones.
 */
export class SqliteStateStore implements StateStore {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #clock: Clock;
  readonly #newToken: () => string;
  readonly #pollIntervalMs: number;
  readonly #busyTimeoutMs: number;
  readonly #subscriptions = new Set<Subscription>();
  /** The last message looked at. */
  #cursor = 0;
  #cancelPoll: CancelTimer | undefined;
  #writes = 0;

  /** @throws ConfigurationError when an option is out of range or the file is no SQLite database. */
  constructor(options: SqliteStateStoreOptions) {
    this.#pollIntervalMs = inRange('pollIntervalMs', options.pollIntervalMs ?? 50, 1, 10_000);
    this.#busyTimeoutMs = inRange('busyTimeoutMs', options.busyTimeoutMs ?? 5_000, 0, Number.MAX_SAFE_INTEGER);
    this.#clock = options.clock ?? systemClock;
    this.#newToken = options.newToken ?? (() => crypto.randomUUID());
    this.#database = openDatabase(options.path);
  }

  get(key: string): Promise<JsonValue | undefined> {
    return this.#run(() => {
      const entry = this.#live(key);
      return entry === undefined ? undefined : (JSON.parse(entry.value) as JsonValue);
    });
  }

  set(key: string, value: JsonValue, options: SetOptions = {}): Promise<boolean> {
    return this.#write(() => {
      const text = stateArguments.text(value);
      const expiresAt = this.#expiry(options.ttlMs);
      if (this.#live(key) !== undefined && options.ifAbsent) return false;
      this.#put(key, text, expiresAt);
      return true;
    });
  }

  compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { readonly ttlMs?: number } = {}): Promise<boolean> {
    return this.#write(() => {
      const text = stateArguments.text(next);
      const expiresAt = this.#expiry(options.ttlMs);
      const entry = this.#live(key);
      if (entry === undefined || entry.value !== stateArguments.text(expected)) return false;
      this.#put(key, text, options.ttlMs === undefined ? entry.expires_at : expiresAt);
      return true;
    });
  }

  delete(key: string): Promise<boolean> {
    return this.#write(() => {
      const live = this.#live(key) !== undefined;
      this.#sql('DELETE FROM state_entries WHERE key = ?').run(key);
      return live;
    });
  }

  increment(key: string, by: number, options: { readonly ttlMs?: number } = {}): Promise<number> {
    return this.#write(() => {
      const expiresAt = this.#expiry(options.ttlMs);
      const entry = this.#live(key);
      const sum = stateArguments.sum(key, entry?.value, stateArguments.by(by));
      this.#put(key, String(sum), entry === undefined ? expiresAt : entry.expires_at);
      return sum;
    });
  }

  acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    return this.#write(() => {
      const expiresAt = this.#expiry(ttlMs);
      if (this.#holder(key) !== undefined) return undefined;
      const token = this.#newToken();
      this.#sql('INSERT OR REPLACE INTO state_locks (key, token, expires_at) VALUES (?, ?, ?)').run(key, token, expiresAt);
      const fence = this.#sql(
        'INSERT INTO state_fence (id, last) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET last = last + 1 RETURNING last',
      ).get();
      return { token, fencingToken: fence?.last as number };
    });
  }

  extendLock(key: string, token: string, ttlMs: number): Promise<boolean> {
    return this.#write(() => {
      const expiresAt = this.#expiry(ttlMs);
      if (this.#holder(key) !== token) return false;
      this.#sql('UPDATE state_locks SET expires_at = ? WHERE key = ?').run(expiresAt, key);
      return true;
    });
  }

  releaseLock(key: string, token: string): Promise<boolean> {
    return this.#write(() => {
      if (this.#holder(key) !== token) return false;
      this.#sql('DELETE FROM state_locks WHERE key = ?').run(key);
      return true;
    });
  }

  publish(channel: string, message: JsonValue): Promise<void> {
    return this.#write(() => {
      const now = this.#clock.now();
      const text = stateArguments.text(message);
      this.#sql('INSERT INTO state_messages (channel, message, sent_at) VALUES (?, ?, ?)').run(stateArguments.key(channel), text, now);
      this.#sql('DELETE FROM state_messages WHERE sent_at < ?').run(now - MESSAGE_LIFETIME_MS);
    });
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    const subscription = await this.#run((): Subscription => {
      const last = this.#sql('SELECT coalesce(max(id), 0) AS id FROM state_messages').get()?.id as number;
      if (this.#subscriptions.size === 0) this.#cursor = last;
      return { channel: stateArguments.key(channel), listener, after: last };
    });
    this.#subscriptions.add(subscription);
    this.#schedulePoll();
    return async () => {
      this.#subscriptions.delete(subscription);
      if (this.#subscriptions.size === 0) this.#stopPolling();
    };
  }

  async close(): Promise<void> {
    this.#subscriptions.clear();
    this.#stopPolling();
    if (this.#database.isOpen) this.#database.close();
  }

  #live(key: string): Entry | undefined {
    const entry = this.#sql('SELECT value, expires_at FROM state_entries WHERE key = ?').get(stateArguments.key(key)) as Entry | undefined;
    return entry?.expires_at === null || (entry !== undefined && entry.expires_at > this.#clock.now()) ? entry : undefined;
  }

  #put(key: string, value: string, expiresAt: number | null): void {
    this.#sql('INSERT OR REPLACE INTO state_entries (key, value, expires_at) VALUES (?, ?, ?)').run(key, value, expiresAt);
  }

  /** The token of a lock that is held. */
  #holder(key: string): string | undefined {
    const lock = this.#sql('SELECT token FROM state_locks WHERE key = ? AND expires_at > ?').get(
      stateArguments.key(key),
      this.#clock.now(),
    );
    return lock?.token as string | undefined;
  }

  #expiry(ttlMs: number | undefined): number | null {
    return stateArguments.ttlMs(ttlMs) === undefined ? null : this.#clock.now() + (ttlMs as number);
  }

  #sql(text: string): StatementSync {
    const statement = this.#statements.get(text) ?? this.#database.prepare(text);
    this.#statements.set(text, statement);
    return statement;
  }

  #write<T>(work: () => T): Promise<T> {
    return this.#run(() => {
      // IMMEDIATE: a transaction that turned from reading to writing could fail half-way.
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        this.#sweep();
        this.#database.exec('COMMIT');
        return result;
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  async #run<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + this.#busyTimeoutMs;
    for (let attempt = 1; ; attempt += 1) {
      if (!this.#database.isOpen) throw new RpcError('internal_error', 'The state store is closed');
      try {
        return work();
      } catch (error) {
        if (isRpcError(error)) throw error;
        if (!isBusy(error) || performance.now() >= deadline) {
          throw new RpcError('unavailable', 'The state store cannot be reached', { cause: error });
        }
      }
      // Here and not in SQLite, whose waiting would hold up the event loop; in real time, as the other process works in it.
      await wait(1 + Math.random() * Math.min(20, 2 * attempt));
    }
  }

  /** Every thousand writes, what has expired goes. */
  #sweep(): void {
    this.#writes += 1;
    if (this.#writes % 1000 !== 0) return;
    const now = this.#clock.now();
    this.#sql('DELETE FROM state_entries WHERE expires_at <= ?').run(now);
    this.#sql('DELETE FROM state_locks WHERE expires_at <= ?').run(now);
  }

  #schedulePoll(): void {
    this.#cancelPoll ??= this.#clock.setTimeout(() => {
      this.#cancelPoll = undefined;
      this.#poll();
      if (this.#subscriptions.size > 0) this.#schedulePoll();
    }, this.#pollIntervalMs);
  }

  #stopPolling(): void {
    this.#cancelPoll?.();
    this.#cancelPoll = undefined;
  }

  #poll(): void {
    let messages: { id: number; channel: string; message: string }[];
    try {
      messages = this.#sql('SELECT id, channel, message FROM state_messages WHERE id > ? ORDER BY id').all(this.#cursor) as never;
    } catch {
      // The next poll reads them.
      return;
    }
    for (const { id, channel, message } of messages) {
      this.#cursor = id;
      for (const subscription of [...this.#subscriptions]) {
        if (subscription.channel !== channel || subscription.after >= id || !this.#subscriptions.has(subscription)) continue;
        try {
          subscription.listener(JSON.parse(message) as JsonValue);
        } catch {
          // A listener's failure is its own.
        }
      }
    }
  }
}

function openDatabase(path: string): DatabaseSync {
  const deadline = Date.now() + OPEN_TIMEOUT_MS;
  for (;;) {
    let database: DatabaseSync | undefined;
    try {
      // While opening, waiting in SQLite is right: nothing can be served before it is done.
      database = new DatabaseSync(path, { timeout: OPEN_TIMEOUT_MS });
      database.exec(SCHEMA);
      database.exec('PRAGMA busy_timeout = 0');
      return database;
    } catch (cause) {
      if (database?.isOpen) database.close();
      // SQLite does not wait where two processes make one new file's log at once.
      if (isBusy(cause) && Date.now() < deadline) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
        continue;
      }
      throw new ConfigurationError('path', `'${path}' cannot be opened as an SQLite database: ${(cause as Error).message}`);
    }
  }
}

function isBusy(error: unknown): boolean {
  // The low byte is the primary code; extended ones add why.
  return (((error as { errcode?: number }).errcode ?? 0) & 0xff) === SQLITE_BUSY;
}

function inRange(option: string, value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new ConfigurationError(option, `expected an integer from ${min} to ${max}, got ${value}`);
  }
  return value;
}
