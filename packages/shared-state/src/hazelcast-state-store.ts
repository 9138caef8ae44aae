import {
  type Clock,
  ConfigurationError,
  type JsonValue,
  type Lock,
  RpcError,
  type SetOptions,
  type StateStore,
  stateArguments,
  systemClock,
} from '@mcp-blocks/core';
import { HazelcastConnection, type HazelcastMap, type HazelcastPlace } from './hazelcast-connection.js';
import { HazelcastMessages } from './hazelcast-messages.js';

/** Options of {@link HazelcastStateStore}: where the cluster is, and more. */
export interface HazelcastStateStoreOptions extends HazelcastPlace {
  /** Begins the names of the map and the ring buffer. Default: `mcp-blocks:`. */
  readonly keyPrefix?: string;
  /**
   * Longest wait for a connection and for an answer, in milliseconds; a positive integer. A member that is silent for
   * twice as long is given up. Default: 5,000.
   */
  readonly timeoutMs?: number;
  /** Tells which lifetimes are over; the processes need the same. Default: the machine's. */
  readonly clock?: Clock;
  /** Makes lock tokens. Default: `crypto.randomUUID`. */
  readonly newToken?: () => string;
}

/** What the map holds: a value, and the time its life ends. */
interface Entry {
  readonly value: JsonValue;
  readonly endsAt: number | null;
}

/** For how long Hazelcast keeps what is over: longer than clocks differ. */
const GRACE_MS = 60_000;

/**
 * {@link StateStore} in Hazelcast 4.0 or later, for processes on any number of machines: one map, and one ring buffer
 * for messages. What must look before it writes replaces the very entry it has looked at, or looks again.
 * Lifetimes are kept with the values and follow `clock`; Hazelcast removes what is over a minute later.
 *
 * Without a member a call fails with `unavailable` after `timeoutMs`; it may have had its effect.
 */
export class HazelcastStateStore implements StateStore {
  readonly #connection: HazelcastConnection;
  readonly #messages: HazelcastMessages;
  readonly #clock: Clock;
  readonly #newToken: () => string;
  #closing: Promise<void> | undefined;

  /** Connects with the first call. @throws ConfigurationError when an option is missing or out of range. */
  constructor(options: HazelcastStateStoreOptions) {
    const { keyPrefix = 'mcp-blocks:', timeoutMs = 5_000 } = options;
    if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > 2_147_483_647) {
      throw new ConfigurationError('timeoutMs', `expected a positive integer, got ${timeoutMs}`);
    }
    this.#connection = new HazelcastConnection(options, keyPrefix, timeoutMs);
    this.#messages = new HazelcastMessages(this.#connection);
    this.#clock = options.clock ?? systemClock;
    this.#newToken = options.newToken ?? (() => crypto.randomUUID());
  }

  async get(key: string): Promise<JsonValue | undefined> {
    return this.#live(await this.#read(entryName(key)))?.value;
  }

  async set(key: string, value: JsonValue, options: SetOptions = {}): Promise<boolean> {
    const name = entryName(key);
    const entry = this.#entry(value, options.ttlMs);
    if (!options.ifAbsent) {
      await this.#run((map) => map.set(name, text(entry), this.#keptMs(entry)));
      return true;
    }
    return this.#change(name, (current) => (current === undefined ? { entry, outcome: true } : { outcome: false }));
  }

  async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { readonly ttlMs?: number } = {}): Promise<boolean> {
    const wanted = stateArguments.text(expected);
    const fresh = this.#entry(next, options.ttlMs);
    return this.#change(entryName(key), (current) => {
      if (current === undefined || stateArguments.text(current.value) !== wanted) return { outcome: false };
      return { entry: options.ttlMs === undefined ? { ...fresh, endsAt: current.endsAt } : fresh, outcome: true };
    });
  }

  async delete(key: string): Promise<boolean> {
    return this.#remove(entryName(key), () => true);
  }

  async increment(key: string, by: number, options: { readonly ttlMs?: number } = {}): Promise<number> {
    stateArguments.by(by);
    const fresh = this.#entry(0, options.ttlMs);
    return this.#change(entryName(key), (current) => {
      const sum = stateArguments.sum(key, current && stateArguments.text(current.value), by);
      return { entry: { ...(current ?? fresh), value: sum }, outcome: sum };
    });
  }

  async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    const name = lockName(key);
    const token = this.#newToken();
    const entry = this.#entry(token, stateArguments.ttlMs(ttlMs));
    if (!(await this.#change(name, (current) => (current === undefined ? { entry, outcome: true } : { outcome: false })))) return undefined;
    // Drawn while the lock is held, so whoever gets it later draws a larger one; or too late, and then it is nobody's.
    const fencingToken = await this.#change('fence', (current) => {
      const next = ((current?.value as number | undefined) ?? 0) + 1;
      return { entry: { value: next, endsAt: null }, outcome: next };
    });
    return this.#live(await this.#read(name))?.value === token ? { token, fencingToken } : undefined;
  }

  async extendLock(key: string, token: string, ttlMs: number): Promise<boolean> {
    const entry = this.#entry(token, stateArguments.ttlMs(ttlMs));
    return this.#change(lockName(key), (current) => (current?.value === token ? { entry, outcome: true } : { outcome: false }));
  }

  async releaseLock(key: string, token: string): Promise<boolean> {
    return this.#remove(lockName(key), ({ value }) => value === token);
  }

  async publish(channel: string, message: JsonValue): Promise<void> {
    this.#assertOpen();
    await this.#messages.publish(stateArguments.key(channel), stateArguments.text(message));
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    this.#assertOpen();
    return this.#messages.subscribe(stateArguments.key(channel), listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#connection.close();
    this.#messages.close();
    return this.#closing;
  }

  /** Writes what `decide` makes of the entry that lives, unless somebody else changes it meanwhile: then once more. */
  async #change<T>(name: string, decide: (current: Entry | undefined) => { readonly entry?: Entry; readonly outcome: T }): Promise<T> {
    for (;;) {
      const before = await this.#read(name);
      const { entry, outcome } = decide(this.#live(before));
      if (entry === undefined) return outcome;
      const keptMs = this.#keptMs(entry);
      const after = text(entry);
      const isWritten = await this.#run(async (map) => {
        if (before === undefined) return (await map.putIfAbsent(name, after, keptMs)) === null;
        if (!(await map.replaceIfSame(name, before, after))) return false;
        // Only for the cleaning up: the life of what was replaced may have ended earlier, or never.
        await map.setTtl(name, keptMs);
        return true;
      });
      if (isWritten) return outcome;
    }
  }

  async #remove(name: string, isMeant: (current: Entry) => boolean): Promise<boolean> {
    for (;;) {
      const before = await this.#read(name);
      const current = this.#live(before);
      if (before === undefined || current === undefined || !isMeant(current)) return false;
      if (await this.#run((map) => map.remove(name, before))) return true;
    }
  }

  #read(name: string): Promise<string | undefined> {
    return this.#run(async (map) => (await map.get(name)) ?? undefined);
  }

  #run<T>(command: (map: HazelcastMap) => Promise<T>): Promise<T> {
    this.#assertOpen();
    return this.#connection.run(command);
  }

  #live(stored: string | undefined): Entry | undefined {
    if (stored === undefined) return undefined;
    const entry = JSON.parse(stored) as Entry;
    return entry.endsAt !== null && entry.endsAt <= this.#clock.now() ? undefined : entry;
  }

  #entry(value: JsonValue, ttlMs: number | undefined): Entry {
    stateArguments.text(value);
    return { value, endsAt: stateArguments.ttlMs(ttlMs) === undefined ? null : this.#clock.now() + (ttlMs as number) };
  }

  /** 0: for ever. */
  #keptMs({ endsAt }: Entry): number {
    return endsAt === null ? 0 : Math.max(0, endsAt - this.#clock.now()) + GRACE_MS;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new RpcError('internal_error', 'The state store is closed');
  }
}

function text({ value, endsAt }: Entry): string {
  return `{"endsAt":${endsAt},"value":${stateArguments.text(value)}}`;
}

function entryName(key: string): string {
  return `entry:${stateArguments.key(key)}`;
}

function lockName(key: string): string {
  return `lock:${stateArguments.key(key)}`;
}
