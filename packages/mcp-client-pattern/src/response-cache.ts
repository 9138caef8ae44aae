import { type Clock, canonicalJson, type JsonObject, META, type ProtocolEra, type RpcResult } from '@mcp-blocks/core';
import type { CacheEntry, CacheStore } from './cache-store.js';
import { copyJson } from './json-copy.js';

/** Counters of the cache since the client was made. */
export interface CacheStats {
  /** Entries held, stale ones that nobody has asked for since included. Of the whole store, if it is shared. */
  readonly size: number;
  readonly maxSize: number;
  /** Bytes held, as {@link CacheStoreOptions.maxBytes} counts them. */
  readonly bytes: number;
  readonly maxBytes: number;
  readonly hits: number;
  readonly misses: number;
  /** `hits / (hits + misses)`, 0 before the first look-up. */
  readonly hitRate: number;
  /** Stale results given out because the server failed (`staleIfErrorMs`). */
  readonly staleHits: number;
  /** Entries dropped for want of room. */
  readonly evictions: number;
  /** Entries dropped because the server said that something had changed. */
  readonly invalidations: number;
}

/** What has happened in the cache. */
export interface CacheEvent {
  /**
   * `hit`, `miss`: a request that may be answered from the cache was or was not. `stale`: it was, with a
   * stale result, because the server failed. `invalidated`: the server said that something had changed.
   */
  readonly kind: 'hit' | 'miss' | 'stale' | 'invalidated';
  /** The request's method; that of the notification, for `invalidated`. */
  readonly method: string;
}

/** How a caller wants one request cached. */
export interface CacheUse {
  readonly useCache?: boolean | undefined;
  /** Milliseconds. */
  readonly ttl?: number | undefined;
}

/** Options of {@link ResponseCache}. Times in milliseconds. */
export interface ResponseCacheOptions {
  readonly store: CacheStore;
  /** Whose results these are: clients of the same server may share them. */
  readonly server: string;
  readonly defaultTTL: number;
  readonly staleIfErrorMs: number;
  readonly clock: Clock;
  onEvent(event: CacheEvent): void;
}

/** A request whose result may be cached. */
export interface CacheableRequest {
  readonly method: string;
  readonly params: JsonObject;
  /** Tells it from others of the same server. */
  readonly key: string;
}

/** Results the spec makes cacheable (MCP 2026-07-28, server/utilities/caching). `server/discover` is the SDK's. */
const CACHEABLE: ReadonlySet<string> = new Set([
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'prompts/list',
  'resources/read',
]);

const INVALIDATED_BY: Readonly<Record<string, readonly string[]>> = {
  'notifications/tools/list_changed': ['tools/list'],
  'notifications/prompts/list_changed': ['prompts/list', 'prompts/get'],
  'notifications/resources/list_changed': ['resources/list', 'resources/templates/list'],
};

/** One client's results in a {@link CacheStore}, each for as long as it is fresh. */
export class ResponseCache {
  readonly #options: ResponseCacheOptions;
  #hits = 0;
  #misses = 0;
  #staleHits = 0;
  #evictions = 0;
  #invalidations = 0;

  constructor(options: ResponseCacheOptions) {
    this.#options = options;
  }

  /** The request, when its result may be cached; `_meta` does not tell it from others. */
  static cacheable(
    method: string,
    params: JsonObject,
    use: CacheUse,
    readOnlyTool: (name: unknown) => boolean,
  ): CacheableRequest | undefined {
    if (use.useCache === false || params.inputResponses !== undefined || params.requestState !== undefined) return undefined;
    // Not among the spec's cacheable results: only when the caller says so.
    const onRequest = use.useCache === true && (method === 'prompts/get' || (method === 'tools/call' && readOnlyTool(params.name)));
    if (!CACHEABLE.has(method) && !onRequest) return undefined;
    const { _meta, ...rest } = params;
    try {
      return { method, params, key: `${method} ${canonicalJson(rest)}` };
    } catch {
      // Not JSON: that is for whoever sends it to say.
      return undefined;
    }
  }

  /** A fresh result, as a copy. @param partition - whose private results to look at; `undefined`: nobody's. */
  get(request: CacheableRequest, partition: string | undefined): RpcResult | undefined {
    const entry = this.#find(request, partition, 0);
    if (entry === undefined) this.#misses += 1;
    else this.#hits += 1;
    this.#options.onEvent({ kind: entry === undefined ? 'miss' : 'hit', method: request.method });
    return entry === undefined ? undefined : copyJson(entry.result);
  }

  /** A result to give out instead of the server's failure, marked as stale, as a copy. */
  getStale(request: CacheableRequest, partition: string | undefined): RpcResult | undefined {
    const { clock, staleIfErrorMs, onEvent } = this.#options;
    const entry = this.#find(request, partition, staleIfErrorMs);
    if (entry === undefined) return undefined;
    this.#staleHits += 1;
    onEvent({ kind: 'stale', method: request.method });
    const copy = copyJson(entry.result);
    const staleForMs = Math.max(0, clock.now() - entry.expiresAt);
    return { ...copy, _meta: { ...(copy._meta as JsonObject | undefined), [META.staleForMs]: staleForMs } };
  }

  /** Take it before sending; {@link ResponseCache.set} drops a result that was invalidated meanwhile. */
  generation(method: string): number {
    return this.#options.store.generation(this.#options.server, method);
  }

  /** @param partition - whose credentials the result was made with. */
  set(request: CacheableRequest, partition: string, result: RpcResult, era: ProtocolEra, use: CacheUse, generation: number): void {
    const { store, server, clock } = this.#options;
    const { method, params } = request;
    if (generation !== this.generation(method) || result.resultType === 'input_required' || result.isError === true) return;
    const { ttlMs, guessed } = this.#lifetime(result, era, use);
    if (ttlMs <= 0) return;
    // Only what the server calls public is anybody else's (MCP 2026-07-28, server/utilities/caching, "Cache Scope").
    const key = this.#keyOf(request, result.cacheScope === 'public' ? undefined : partition);
    const subject = method === 'resources/read' ? params.uri : params.name;
    store.set(key, {
      result: copyJson(result),
      bytes: 2 * (key.length + JSON.stringify(result).length),
      server,
      method,
      subject: typeof subject === 'string' ? subject : undefined,
      expiresAt: clock.now() + ttlMs,
      guessed,
      onEvict: () => {
        this.#evictions += 1;
      },
    });
  }

  /** The server has sent a notification. */
  notified(notification: string, params: JsonObject): void {
    if (notification === 'notifications/resources/updated') {
      this.#invalidate(notification, ['resources/read'], (entry) => entry.method === 'resources/read' && entry.subject === params.uri);
      return;
    }
    const methods = Object.hasOwn(INVALIDATED_BY, notification) ? INVALIDATED_BY[notification] : undefined;
    if (methods !== undefined) this.#invalidate(notification, methods, (entry) => methods.includes(entry.method));
  }

  /** Notifications may have been missed: drops what counts on them. */
  missedNotifications(): void {
    const { store, server } = this.#options;
    this.#invalidations += store.drop(server, (entry) => entry.guessed);
  }

  /** @param matches - which to drop, by method and URI or name. Default: all of this server's. */
  clear(matches: (text: string) => boolean = () => true): void {
    const { store, server } = this.#options;
    for (const method of [...CACHEABLE, 'prompts/get', 'tools/call']) store.invalidate(server, method);
    store.drop(server, ({ method, subject }) => matches(subject === undefined ? method : `${method} ${subject}`));
  }

  stats(): CacheStats {
    const { size, maxSize, bytes, maxBytes } = this.#options.store;
    const lookups = this.#hits + this.#misses;
    return {
      size,
      maxSize,
      bytes,
      maxBytes,
      hits: this.#hits,
      misses: this.#misses,
      hitRate: lookups === 0 ? 0 : this.#hits / lookups,
      staleHits: this.#staleHits,
      evictions: this.#evictions,
      invalidations: this.#invalidations,
    };
  }

  #invalidate(notification: string, methods: readonly string[], stale: (entry: CacheEntry) => boolean): void {
    const { store, server, onEvent } = this.#options;
    for (const method of methods) store.invalidate(server, method);
    this.#invalidations += store.drop(server, stale);
    onEvent({ kind: 'invalidated', method: notification });
  }

  #find(request: CacheableRequest, partition: string | undefined, graceMs: number): CacheEntry | undefined {
    const { clock } = this.#options;
    for (const owner of partition === undefined ? [undefined] : [partition, undefined]) {
      const key = this.#keyOf(request, owner);
      const entry = this.#options.store.get(key);
      if (entry === undefined) continue;
      const staleForMs = clock.now() - entry.expiresAt;
      if (staleForMs < graceMs) return entry;
      if (staleForMs >= this.#options.staleIfErrorMs) this.#options.store.delete(key);
    }
    return undefined;
  }

  #keyOf({ key }: CacheableRequest, partition: string | undefined): string {
    // The length keeps a partition from reaching into what follows it.
    return `${this.#options.server} ${partition === undefined ? '-' : `${partition.length}:${partition}`} ${key}`;
  }

  #lifetime(result: RpcResult, era: ProtocolEra, use: CacheUse): { ttlMs: number; guessed: boolean } {
    if (use.ttl !== undefined) return { ttlMs: use.ttl, guessed: false };
    if (typeof result.ttlMs === 'number' && result.ttlMs > 0) return { ttlMs: result.ttlMs, guessed: false };
    // Caching, "Time-to-Live Field": 0 means immediately stale; where the field is absent, as in the legacy era
    // that did not know it, clients rely on heuristics of their own.
    const ours = era === 'legacy' || use.useCache === true;
    return { ttlMs: ours ? this.#options.defaultTTL : 0, guessed: true };
  }
}
