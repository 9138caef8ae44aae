import { ConfigurationError, type RpcResult } from '@mcp-blocks/core';
import { LRUCache } from 'lru-cache';

/** Bounds of a {@link CacheStore}. */
export interface CacheStoreOptions {
  /** Most results kept; 1 or more. Default: 1,000. */
  readonly maxSize?: number;
  /** Most bytes kept, counted as two for each character of the results' JSON; 1 or more. Default: 33,554,432 (32 MiB). */
  readonly maxBytes?: number;
}

/** A result in a {@link CacheStore}. */
export interface CacheEntry {
  readonly result: RpcResult;
  /** Bytes it counts for. */
  readonly bytes: number;
  /** The server it is from. */
  readonly server: string;
  readonly method: string;
  /** The URI of a resource, the name of a tool or prompt. */
  readonly subject: string | undefined;
  readonly expiresAt: number;
  /** Lives by our guess, counting on notifications of change, rather than by the server's word or the caller's. */
  readonly guessed: boolean;
  /** Told when the entry has to make room. */
  readonly onEvict: () => void;
}

export const DEFAULT_MAX_SIZE = 1000;
export const DEFAULT_MAX_BYTES = 33_554_432;

/**
 * Room for results, the least recently used going first. Each client has one of its own, unless several are
 * given the same as `cacheOptions.store`: then they share its room, and clients of the same server share
 * what that server marks `cacheScope: 'public'`. What is private stays with its principal.
 */
export class CacheStore {
  readonly maxSize: number;
  readonly maxBytes: number;
  readonly #entries: LRUCache<string, CacheEntry>;
  /** Counts invalidations by server and method, so that an answer already on its way is not stored after one. */
  readonly #generations = new Map<string, number>();
  /** Tokens by the number that stands for them in keys. */
  readonly #tokens: LRUCache<string, number>;
  #numbers = 0;

  /** @throws ConfigurationError when a bound is out of range. */
  constructor({ maxSize = DEFAULT_MAX_SIZE, maxBytes = DEFAULT_MAX_BYTES }: CacheStoreOptions = {}) {
    for (const [option, value] of Object.entries({ maxSize, maxBytes })) {
      if (!Number.isInteger(value) || value < 1) throw new ConfigurationError(option, `expected an integer of at least 1, got ${value}`);
    }
    this.maxSize = maxSize;
    this.maxBytes = maxBytes;
    this.#tokens = new LRUCache({ max: maxSize });
    this.#entries = new LRUCache({
      max: maxSize,
      maxSize: maxBytes,
      sizeCalculation: ({ bytes }) => bytes,
      dispose: ({ onEvict }, _key, reason) => {
        if (reason === 'evict') onEvict();
      },
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#entries.calculatedSize;
  }

  get(key: string): CacheEntry | undefined {
    return this.#entries.get(key);
  }

  set(key: string, entry: CacheEntry): void {
    this.#entries.set(key, entry);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** Drops the server's entries that are stale, and says how many. */
  drop(server: string, stale: (entry: CacheEntry) => boolean): number {
    let dropped = 0;
    for (const [key, entry] of this.#entries.entries()) {
      if (entry.server !== server || !stale(entry)) continue;
      this.#entries.delete(key);
      dropped += 1;
    }
    return dropped;
  }

  generation(server: string, method: string): number {
    return this.#generations.get(`${method} ${server}`) ?? 0;
  }

  invalidate(server: string, method: string): void {
    this.#generations.set(`${method} ${server}`, this.generation(server, method) + 1);
  }

  /** A name for the token that is no secret. One forgotten gets a new name, under which nothing is kept. */
  nameOf(token: string): string {
    const number = this.#tokens.get(token) ?? ++this.#numbers;
    this.#tokens.set(token, number);
    return `token ${number}`;
  }

  /** A name nobody else has. */
  newName(): string {
    return `client ${++this.#numbers}`;
  }
}
