import { type Clock, isJsonObject, type JsonObject, type ProtocolEra, type RpcResult } from '@mcp-blocks/core';
import { LRUCache } from 'lru-cache';

/** Counters of the cache since the client was made. */
export interface CacheStats {
  /** Entries held, stale ones that nobody has asked for since included. */
  readonly size: number;
  readonly maxSize: number;
  readonly hits: number;
  readonly misses: number;
  /** `hits / (hits + misses)`, 0 before the first look-up. */
  readonly hitRate: number;
  /** Entries dropped for want of room. */
  readonly evictions: number;
  /** Entries dropped because the server said that something had changed. */
  readonly invalidations: number;
}

/** How a caller wants one request cached. */
export interface CacheUse {
  readonly useCache?: boolean | undefined;
  /** Milliseconds. */
  readonly ttl?: number | undefined;
}

/** Options of {@link ResponseCache}. */
export interface ResponseCacheOptions {
  readonly maxSize: number;
  /** Milliseconds. */
  readonly defaultTTL: number;
  readonly clock: Clock;
}

interface Entry {
  /** Kept as text, so that neither side can change the other's copy. */
  readonly json: string;
  readonly method: string;
  readonly uri: string | undefined;
  readonly expiresAt: number;
  /** Lives by our guess, counting on notifications of change, rather than by the server's word or the caller's. */
  readonly guessed: boolean;
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

/** The least recently used results, each for as long as it is fresh. Serves one principal. */
export class ResponseCache {
  readonly #options: ResponseCacheOptions;
  readonly #entries: LRUCache<string, Entry>;
  /** Counts invalidations by method, so that an answer already on its way is not stored after one. */
  readonly #generations = new Map<string, number>();
  #hits = 0;
  #misses = 0;
  #evictions = 0;
  #invalidations = 0;

  constructor(options: ResponseCacheOptions) {
    this.#options = options;
    this.#entries = new LRUCache({
      max: options.maxSize,
      dispose: (_entry, _key, reason) => {
        if (reason === 'evict') this.#evictions += 1;
      },
    });
  }

  /** The request's key, when its result may be cached; `_meta` is no part of it. */
  static key(method: string, params: JsonObject, use: CacheUse, readOnlyTool: (name: unknown) => boolean): string | undefined {
    if (use.useCache === false || params.inputResponses !== undefined || params.requestState !== undefined) return undefined;
    // Not among the spec's cacheable results: only when the caller says so.
    const onRequest = use.useCache === true && (method === 'prompts/get' || (method === 'tools/call' && readOnlyTool(params.name)));
    if (!CACHEABLE.has(method) && !onRequest) return undefined;
    const { _meta, ...rest } = params;
    return `${method} ${stableJson(rest)}`;
  }

  get(key: string): RpcResult | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#options.clock.now() >= entry.expiresAt) {
      if (entry !== undefined) this.#entries.delete(key);
      this.#misses += 1;
      return undefined;
    }
    this.#hits += 1;
    return JSON.parse(entry.json) as RpcResult;
  }

  /** Take it before sending; {@link ResponseCache.set} drops a result that was invalidated meanwhile. */
  generation(method: string): number {
    return this.#generations.get(method) ?? 0;
  }

  set(key: string, method: string, params: JsonObject, result: RpcResult, era: ProtocolEra, use: CacheUse, generation: number): void {
    if (generation !== this.generation(method) || result.resultType === 'input_required' || result.isError === true) return;
    const lifetime = this.#lifetime(result, era, use);
    if (lifetime.ttlMs <= 0) return;
    this.#entries.set(key, {
      json: JSON.stringify(result),
      method,
      uri: method === 'resources/read' && typeof params.uri === 'string' ? params.uri : undefined,
      expiresAt: this.#options.clock.now() + lifetime.ttlMs,
      guessed: lifetime.guessed,
    });
  }

  /** The server has sent a notification; true when it makes cached results stale. */
  notified(notification: string, params: JsonObject): boolean {
    if (notification === 'notifications/resources/updated') {
      this.#bump('resources/read');
      this.#drop((entry) => entry.uri !== undefined && entry.uri === params.uri);
      return true;
    }
    const methods = Object.hasOwn(INVALIDATED_BY, notification) ? INVALIDATED_BY[notification] : undefined;
    if (methods === undefined) return false;
    for (const method of methods) this.#bump(method);
    this.#drop((entry) => methods.includes(entry.method));
    return true;
  }

  /** Notifications may have been missed: drops what counts on them. */
  missedNotifications(): void {
    this.#drop((entry) => entry.guessed);
  }

  clear(): void {
    for (const method of [...CACHEABLE, 'prompts/get', 'tools/call']) this.#bump(method);
    this.#entries.clear();
  }

  stats(): CacheStats {
    const lookups = this.#hits + this.#misses;
    return {
      size: this.#entries.size,
      maxSize: this.#options.maxSize,
      hits: this.#hits,
      misses: this.#misses,
      hitRate: lookups === 0 ? 0 : this.#hits / lookups,
      evictions: this.#evictions,
      invalidations: this.#invalidations,
    };
  }

  #lifetime(result: RpcResult, era: ProtocolEra, use: CacheUse): { ttlMs: number; guessed: boolean } {
    if (use.ttl !== undefined) return { ttlMs: use.ttl, guessed: false };
    if (typeof result.ttlMs === 'number' && result.ttlMs > 0) return { ttlMs: result.ttlMs, guessed: false };
    // Caching, "Time-to-Live Field": 0 means immediately stale; where the field is absent, as in the legacy era
    // that did not know it, clients rely on heuristics of their own.
    const ours = era === 'legacy' || use.useCache === true;
    return { ttlMs: ours ? this.#options.defaultTTL : 0, guessed: true };
  }

  #bump(method: string): void {
    this.#generations.set(method, this.generation(method) + 1);
  }

  #drop(stale: (entry: Entry) => boolean): void {
    for (const [key, entry] of this.#entries.entries()) {
      if (!stale(entry)) continue;
      this.#entries.delete(key);
      this.#invalidations += 1;
    }
  }
}

/** JSON with the members of every object in order of their names. */
function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    isJsonObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  );
}
