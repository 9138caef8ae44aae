import { createHash } from 'node:crypto';
import {
  ConfigurationError,
  type JsonValue,
  type Lock,
  RpcError,
  type SetOptions,
  type StateStore,
  stateArguments,
} from '@mcp-blocks/core';
import { Redis } from 'ioredis';
import { duplicate, type RedisClient, type RedisPlace, redisClient } from './redis-clients.js';
import { RedisConnection } from './redis-connection.js';
import { ACQUIRE_LOCK, COMPARE_AND_SET, EXTEND_LOCK, INCREMENT, PUBLISH, RELEASE_LOCK, type RedisScript } from './redis-scripts.js';

/** Options of {@link RedisStateStore}: where Redis is, exactly one of `url`, `clusterUrls` and `client`, and more. */
export interface RedisStateStoreOptions extends RedisPlace {
  /** Begins the name of every key and channel. Default: `mcp-blocks:`. */
  readonly keyPrefix?: string;
  /**
   * Longest wait for a connection, and unless with `client` for an answer, in milliseconds; a positive integer.
   * Default: 2,000.
   */
  readonly timeoutMs?: number;
  /** Told of lost connections and failed attempts; the store reconnects by itself. Default: nobody is. */
  readonly onError?: (error: Error) => void;
  /** Makes lock tokens. Default: `crypto.randomUUID`. */
  readonly newToken?: () => string;
}

interface Channel {
  readonly listeners: Set<(text: string) => void>;
  /** Subscriptions on their way. */
  pending: number;
}

/** Locks share this many fences, each in the slot of its locks: what one lock counts with is on one node of a Cluster. */
const FENCES = 1024;

/**
 * {@link StateStore} in Redis 6.2 or later, for processes on any number of machines: one server, a primary that
 * Sentinels name, or a Cluster. Lifetimes follow the server's clock. Commands that must look before they write
 * are Lua scripts.
 *
 * Redis replicates after it has answered: a primary that is lost takes its last writes with it, locks and fencing
 * tokens included.
 *
 * Without a connection a call fails with `unavailable` once an attempt has failed, at the latest after
 * `timeoutMs`; nothing is sent later on its behalf. A call that got no answer may have had its effect.
 */
export class RedisStateStore implements StateStore {
  readonly #connection: RedisConnection;
  readonly #ownsClient: boolean;
  readonly #prefix: string;
  readonly #newToken: () => string;
  readonly #channels = new Map<string, Channel>();
  readonly #connectSubscriber: () => RedisConnection;
  #subscriber: RedisConnection | undefined;
  #closing: Promise<void> | undefined;

  /** Connects with the first call. @throws ConfigurationError when an option is missing or out of range. */
  constructor(options: RedisStateStoreOptions) {
    const { keyPrefix = 'mcp-blocks:', timeoutMs = 2_000, onError = () => {} } = options;
    if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > 2_147_483_647) {
      throw new ConfigurationError('timeoutMs', `expected a positive integer, got ${timeoutMs}`);
    }
    const client = redisClient(options, timeoutMs);
    this.#ownsClient = options.client === undefined;
    this.#prefix = keyPrefix;
    this.#newToken = options.newToken ?? (() => crypto.randomUUID());
    this.#connection = new RedisConnection(client, timeoutMs, onError);
    this.#connectSubscriber = () => {
      const subscriber = duplicate(client);
      subscriber.on('message', (channel: string, text: string) => this.#deliver(channel, text));
      if (subscriber instanceof Redis) subscriber.on('ready', () => this.#subscribeAnew(subscriber));
      return new RedisConnection(subscriber, timeoutMs, onError);
    };
  }

  async get(key: string): Promise<JsonValue | undefined> {
    const name = this.#entry(key);
    const text = await this.#run((client) => client.get(name));
    return text === null ? undefined : (JSON.parse(text) as JsonValue);
  }

  async set(key: string, value: JsonValue, options: SetOptions = {}): Promise<boolean> {
    const name = this.#entry(key);
    const text = stateArguments.text(value);
    const ttlMs = stateArguments.ttlMs(options.ttlMs);
    const words = [...(ttlMs === undefined ? [] : ['PX', ttlMs]), ...(options.ifAbsent ? ['NX'] : [])];
    return (await this.#run((client) => client.call('SET', [name, text, ...words]))) !== null;
  }

  async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { readonly ttlMs?: number } = {}): Promise<boolean> {
    const args = [stateArguments.text(expected), stateArguments.text(next), stateArguments.ttlMs(options.ttlMs) ?? ''];
    return (await this.#eval(COMPARE_AND_SET, [this.#entry(key)], args)) === 1;
  }

  async delete(key: string): Promise<boolean> {
    const name = this.#entry(key);
    return (await this.#run((client) => client.del(name))) === 1;
  }

  async increment(key: string, by: number, options: { readonly ttlMs?: number } = {}): Promise<number> {
    const args = [stateArguments.by(by), stateArguments.ttlMs(options.ttlMs) ?? ''];
    const [counted, text] = (await this.#eval(INCREMENT, [this.#entry(key)], args)) as [0 | 1, string];
    // The shared check says what is wrong with a text that could not be counted on from.
    return counted === 1 ? Number(text) : stateArguments.sum(key, text, by);
  }

  async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    const token = this.#newToken();
    const keys = [this.#lock(key), this.#fence(key)];
    const fencingToken = await this.#eval(ACQUIRE_LOCK, keys, [token, stateArguments.ttlMs(ttlMs)]);
    return fencingToken === 0 ? undefined : { token, fencingToken: fencingToken as number };
  }

  async extendLock(key: string, token: string, ttlMs: number): Promise<boolean> {
    return (await this.#eval(EXTEND_LOCK, [this.#lock(key)], [token, stateArguments.ttlMs(ttlMs)])) === 1;
  }

  async releaseLock(key: string, token: string): Promise<boolean> {
    return (await this.#eval(RELEASE_LOCK, [this.#lock(key)], [token])) === 1;
  }

  async publish(channel: string, message: JsonValue): Promise<void> {
    await this.#eval(PUBLISH, [this.#channel(channel)], [stateArguments.text(message)]);
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    const name = this.#channel(channel);
    this.#assertOpen();
    this.#subscriber ??= this.#connectSubscriber();
    const state = this.#channels.get(name) ?? { listeners: new Set(), pending: 0 };
    this.#channels.set(name, state);
    const own = (text: string) => listener(JSON.parse(text) as JsonValue);
    state.pending += 1;
    try {
      await this.#subscriber.run((client) => client.subscribe(name));
      this.#assertOpen();
      // Only now: what came before the answer was published before the subscription.
      state.listeners.add(own);
    } finally {
      state.pending -= 1;
      this.#leaveIfUnused(name, state);
    }
    return async () => {
      if (state.listeners.delete(own)) this.#leaveIfUnused(name, state);
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#channels.clear();
    await Promise.all([this.#subscriber?.end(false), this.#ownsClient ? this.#connection.end(true) : undefined]);
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new RpcError('internal_error', 'The state store is closed');
  }

  #run<T>(command: (client: RedisClient) => Promise<T>): Promise<T> {
    this.#assertOpen();
    return this.#connection.run(command);
  }

  #eval({ lua, sha1 }: RedisScript, keys: string[], args: (string | number)[]): Promise<unknown> {
    return this.#run((client) => client.evalsha(sha1, keys.length, ...keys, ...args)).catch((error: RpcError) => {
      if (!(error.cause instanceof Error) || !error.cause.message.startsWith('NOSCRIPT')) throw error;
      return this.#run((client) => client.eval(lua, keys.length, ...keys, ...args));
    });
  }

  #deliver(name: string, text: string): void {
    const state = this.#channels.get(name);
    // A channel that could not be left while the connection was lost.
    if (state === undefined) this.#leave(name);
    for (const listener of [...(state?.listeners ?? [])]) {
      if (!state?.listeners.has(listener)) continue;
      try {
        listener(text);
      } catch {
        // A listener's failure is its own.
      }
    }
  }

  #leaveIfUnused(name: string, state: Channel): void {
    if (state.listeners.size > 0 || state.pending > 0 || this.#channels.get(name) !== state) return;
    this.#channels.delete(name);
    this.#leave(name);
  }

  /** After a lost connection. One on which that does not work is no use. */
  #subscribeAnew(subscriber: Redis): void {
    const names = [...this.#channels.keys()];
    if (names.length > 0) subscriber.subscribe(...names).catch(() => subscriber.disconnect(true));
  }

  #leave(name: string): void {
    const client = this.#subscriber?.client;
    if (client?.status === 'ready') void client.unsubscribe(name).catch(() => {});
  }

  #entry(key: string): string {
    return `${this.#prefix}entry:${stateArguments.key(key)}`;
  }

  #lock(key: string): string {
    return `${this.#fence(key)}:${key}`;
  }

  #fence(key: string): string {
    const number = createHash('sha1').update(stateArguments.key(key)).digest().readUInt16BE() % FENCES;
    return `${this.#prefix}lock:{${number}}`;
  }

  #channel(channel: string): string {
    return `${this.#prefix}channel:${stateArguments.key(channel)}`;
  }
}
