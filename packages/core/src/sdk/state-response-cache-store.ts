import { type Clock, systemClock } from '../clock.js';
import { ConfigurationError } from '../errors.js';
import { isJsonObject, type JsonValue } from '../json.js';
import type { StateStore } from '../state.js';

/** Names a cached response, as the SDK's client does. */
interface CacheKey {
  readonly method: string;
  readonly params?: string;
  /** Server and principal. */
  readonly partition?: string;
}

/** A cached response; `expiresAt` and `scope` are the client's affair. */
interface CacheEntry {
  readonly value: string;
  readonly stamp: number;
  readonly expiresAt?: number;
  readonly scope?: 'public' | 'private';
}

/** Options of {@link StateResponseCacheStore}. */
export interface StateResponseCacheStoreOptions {
  /** Distinguishes this cache from everything else in the store; clients with the same one share it. */
  readonly key: string;
  /** Milliseconds a response is kept, 1 or more; how long it is fresh is its server's word. Default: 86 400 000 (a day). */
  readonly ttlMs?: number;
  /** A larger response is not kept; 1 or more. Default: 1 048 576 (1 MiB). */
  readonly maxEntryBytes?: number;
  /** Told when the store cannot be reached. Reading finds nothing then. Default: nobody is. */
  readonly onError?: (error: Error) => void;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/**
 * A `ResponseCacheStore` of the SDK's client on a {@link StateStore}: the clients of many processes share what
 * servers allow to be kept (MCP 2026-07-28, caching), and forget it together. The client puts server and principal
 * into every key; set its `cachePartition` to the principal.
 *
 * While the store is out of reach nothing is found and nothing kept; what was to be forgotten meanwhile is not found
 * by this process afterwards. `evict` and `clear` reject with `RpcError` `unavailable`.
 */
export class StateResponseCacheStore {
  readonly #store: StateStore;
  readonly #options: Required<StateResponseCacheStoreOptions>;
  /** What could not be deleted. */
  readonly #doomed = new Set<string>();

  /** @throws ConfigurationError naming the option that is out of range. */
  constructor(store: StateStore, options: StateResponseCacheStoreOptions) {
    this.#store = store;
    this.#options = { ttlMs: 86_400_000, maxEntryBytes: 1024 * 1024, onError: () => {}, clock: systemClock, ...options };
    for (const name of ['ttlMs', 'maxEntryBytes'] as const) {
      const value = this.#options[name];
      if (!Number.isSafeInteger(value) || value < 1) throw new ConfigurationError(name, `expected a whole number from 1, got ${value}`);
    }
  }

  async get(key: CacheKey): Promise<CacheEntry | undefined> {
    return this.#softly(undefined, async () => {
      const name = await this.#name(key);
      if (!this.#doomed.has(textOf(key))) return asEntry(await this.#store.get(name));
      await this.#store.delete(name);
      this.#doomed.delete(textOf(key));
      return undefined;
    });
  }

  async set(key: CacheKey, entry: Omit<CacheEntry, 'stamp'>): Promise<number> {
    // A stamp that no store gave only has to differ from the others.
    return this.#softly(this.#options.clock.now() + Math.random(), async () => {
      const { ttlMs, maxEntryBytes } = this.#options;
      const stamp = await this.#store.increment(`${this.#options.key}:stamp`, 1);
      const name = await this.#name(key);
      const { value, expiresAt, scope } = entry;
      if (new TextEncoder().encode(value).byteLength > maxEntryBytes) await this.#store.delete(name);
      else {
        const kept = { value, stamp, ...(expiresAt === undefined ? {} : { expiresAt }), ...(scope === undefined ? {} : { scope }) };
        await this.#store.set(name, kept, { ttlMs });
      }
      this.#doomed.delete(textOf(key));
      return stamp;
    });
  }

  async delete(key: CacheKey): Promise<void> {
    this.#doomed.add(textOf(key));
    await this.#softly(undefined, async () => {
      await this.#store.delete(await this.#name(key));
      this.#doomed.delete(textOf(key));
    });
  }

  /** Forgets every response to the method. */
  async evict(method: string): Promise<void> {
    await this.#store.increment(this.#epochKey(method), 1);
  }

  /** Forgets everything, for every client that shares it. */
  async clear(): Promise<void> {
    await this.#store.increment(this.#epochKey(), 1);
  }

  /** The epochs are part of it: what belongs to an earlier one is not found, and ends with its time. */
  async #name(key: CacheKey): Promise<string> {
    const epochs = await Promise.all([this.#store.get(this.#epochKey()), this.#store.get(this.#epochKey(key.method))]);
    return `${this.#options.key}:entry:${epochs.map((epoch) => String(epoch ?? 0)).join(':')}:${textOf(key)}`;
  }

  #epochKey(method?: string): string {
    return `${this.#options.key}:epoch:${method ?? ''}`;
  }

  async #softly<T>(otherwise: T, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.#options.onError(error as Error);
      return otherwise;
    }
  }
}

function textOf({ method, params = '', partition = '' }: CacheKey): string {
  return JSON.stringify([method, params, partition]);
}

function asEntry(value: JsonValue | undefined): CacheEntry | undefined {
  return isJsonObject(value) && typeof value.value === 'string' && typeof value.stamp === 'number'
    ? (value as unknown as CacheEntry)
    : undefined;
}
