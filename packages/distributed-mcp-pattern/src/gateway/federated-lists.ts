import {
  type Clock,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type Principal,
  type RpcContext,
  RpcError,
  type RpcResult,
  type ServiceEvent,
} from '@mcp-blocks/core';
import { isSpecType } from '@modelcontextprotocol/client';
import type { ChangeWatch, WatchOptions } from '../changes/change-feeds.js';
import type { RouteOptions } from '../router.js';
import { identityKey } from '../upstream/identity.js';
import { Directory, type DirectoryEntry } from './directory.js';
import type { GatewayProblem } from './problems.js';

/** Where a gateway sends requests: a `DistributedMCPCluster`, or anything else that routes. */
export interface GatewaySource {
  route(method: string, params: JsonObject, options: RouteOptions): Promise<RpcResult>;
  /** Tells of changes. Absent: none are heard of, and nobody can subscribe to a resource of it. */
  watch?(options: WatchOptions, listener: (event: ServiceEvent) => void): ChangeWatch;
}

/** The methods that list, with the member of the result, the field that names an item, and what an item must be. */
const LISTS = {
  'tools/list': { member: 'tools', key: 'name', isItem: isSpecType.Tool },
  'prompts/list': { member: 'prompts', key: 'name', isItem: isSpecType.Prompt },
  'resources/list': { member: 'resources', key: 'uri', isItem: isSpecType.Resource },
  'resources/templates/list': { member: 'resourceTemplates', key: 'uriTemplate', isItem: isSpecType.ResourceTemplate },
} as const;

export type ListMethod = keyof typeof LISTS;

/** What {@link FederatedLists} works with. */
export interface FederatedListsOptions {
  readonly services: ReadonlyMap<string, GatewaySource>;
  readonly collision: 'refuse' | 'prefix';
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly onProblem: (problem: GatewayProblem) => void;
}

interface ServiceList {
  readonly service: string;
  readonly items: readonly JsonObject[];
  readonly ttlMs: number;
  readonly isPublic: boolean;
}

interface Federated {
  readonly result: RpcResult;
  /** Services that did not answer. */
  readonly missing: readonly string[];
}

const MAX_PAGES = 100;
const MAX_CACHED = 1_000;

/** The lists of all services as one, per principal, with the directory of who owns what. */
export class FederatedLists {
  readonly #options: FederatedListsOptions;
  readonly #directories: ReadonlyMap<ListMethod, Directory>;
  readonly #cache = new Map<string, { readonly until: number; readonly lists: Promise<Federated> }>();
  /** The argument schemas of the tools each identity was shown last. */
  readonly #schemas: Map<string, ReadonlyMap<string, JsonObject>> = new Map();
  #walks = 0;

  /** @param before - the lists of other services with the same rule of collision: a name keeps its owner. */
  constructor(options: FederatedListsOptions, before?: FederatedLists) {
    this.#options = options;
    const names = [...options.services.keys()];
    const methods = Object.keys(LISTS) as ListMethod[];
    const known = before === undefined ? undefined : before.#directories;
    this.#directories = new Map(methods.map((method) => [method, new Directory(names, known?.get(method))]));
    if (before !== undefined) this.#schemas = new Map(before.#schemas);
  }

  /**
   * The merged list as this principal may see it. Services that do not answer are left out and reported.
   * @throws RpcError `unavailable` when none answers.
   */
  async list(method: ListMethod, context: RpcContext): Promise<RpcResult> {
    return (await this.#federated(method, context)).result;
  }

  /**
   * The owner of an exposed name, asking the services when it is not known yet.
   * @throws RpcError `unavailable` when it is not known and a service that may own it does not answer.
   */
  async find(method: ListMethod, exposed: string, context: RpcContext): Promise<DirectoryEntry | undefined> {
    const known = this.known(method, exposed);
    if (known !== undefined) return known;
    const { missing } = await this.#federated(method, context);
    const found = this.known(method, exposed);
    if (found === undefined && missing.length > 0) {
      throw new RpcError('unavailable', `'${exposed}' cannot be looked up now: not every service answers`, {
        data: { retryAfterMs: 1_000 },
        headers: { 'retry-after': '1' },
        auditReason: `no answer from ${missing.join(', ')}`,
      });
    }
    return found;
  }

  /** The argument schema of a tool that this principal's list has shown. */
  toolInputSchema(name: string, principal: Principal): JsonObject | undefined {
    return this.#schemas.get(identityKey(principal))?.get(name);
  }

  /** Forgets the lists that have changed; those being asked for are not kept. */
  invalidate({ kind }: ServiceEvent): void {
    for (const key of this.#cache.keys()) if (key.startsWith(kind.slice(0, kind.indexOf('_')))) this.#cache.delete(key);
  }

  known(method: ListMethod, exposed: string): DirectoryEntry | undefined {
    return this.#directory(method).find(exposed);
  }

  /** Every owner known so far, by exposed name. */
  all(method: ListMethod): Iterable<[exposed: string, entry: DirectoryEntry]> {
    return this.#directory(method);
  }

  #directory(method: ListMethod): Directory {
    return this.#directories.get(method) as Directory;
  }

  #federated(method: ListMethod, context: RpcContext): Promise<Federated> {
    const { clock, ttlMs } = this.#options;
    const key = `${method} ${identityKey(context.principal)}`;
    const now = clock.now();
    const cached = this.#cache.get(key);
    if (cached !== undefined && cached.until > now) return cached.lists;
    const lists = this.#ask(method, context);
    this.#cache.delete(key);
    this.#cache.set(key, { until: Number.POSITIVE_INFINITY, lists });
    const settle = (until: number) => {
      if (this.#cache.get(key)?.lists !== lists) return;
      this.#cache.delete(key);
      if (until > clock.now()) this.#cache.set(key, { until, lists });
    };
    // Callers at the same time share the request; after it, what is missing is asked for again soon.
    lists.then(
      ({ result, missing }) => {
        if (method === 'tools/list') this.#learnSchemas(identityKey(context.principal), result);
        settle(missing.length > 0 ? 0 : clock.now() + ttlMs);
      },
      () => settle(0),
    );
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MAX_CACHED) break;
      this.#cache.delete(oldest);
    }
    return lists;
  }

  #learnSchemas(identity: string, { tools }: RpcResult): void {
    const schemas = (tools as JsonObject[]).map(({ name, inputSchema }) => [name as string, inputSchema as JsonObject] as const);
    this.#schemas.delete(identity);
    this.#schemas.set(identity, new Map(schemas));
    for (const oldest of this.#schemas.keys()) {
      if (this.#schemas.size <= MAX_CACHED) break;
      this.#schemas.delete(oldest);
    }
  }

  async #ask(method: ListMethod, context: RpcContext): Promise<Federated> {
    const { services, onProblem } = this.#options;
    const missing: string[] = [];
    const lists = await Promise.all(
      [...services].map(async ([service, source]): Promise<ServiceList | undefined> => {
        try {
          return await this.#walk(method, service, source, context);
        } catch (error) {
          missing.push(service);
          onProblem({ kind: 'unreachable', service, method, error: error instanceof Error ? error : new Error(String(error)) });
          return undefined;
        }
      }),
    );
    const answered = lists.filter((list) => list !== undefined);
    if (answered.length === 0) {
      throw new RpcError('unavailable', 'No service behind the gateway answers', {
        data: { retryAfterMs: 1_000 },
        headers: { 'retry-after': '1' },
      });
    }
    return { result: this.#merge(method, answered, missing.length === 0), missing };
  }

  /** Every page of one service's list. A service without this kind of thing has an empty one. */
  async #walk(method: ListMethod, service: string, source: GatewaySource, context: RpcContext): Promise<ServiceList> {
    const { clock, timeoutMs } = this.#options;
    const timeout = new AbortController();
    const cancelTimeout = clock.setTimeout(() => timeout.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    this.#walks += 1;
    // One caller's leaving must not end a request that others share; pages belong to the node that began them.
    const { sessionId: _session, ...rest } = context;
    const options: RouteOptions = {
      context: { ...rest, signal: timeout.signal, notify: () => Promise.resolve() },
      sessionId: `list-${this.#walks}`,
    };
    const { member } = LISTS[method];
    const items: JsonObject[] = [];
    let ttlMs = Number.POSITIVE_INFINITY;
    let isPublic = true;
    let cursor: unknown;
    try {
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const result: RpcResult = await source.route(method, typeof cursor === 'string' ? { cursor } : {}, options);
        const found = result[member];
        if (!Array.isArray(found)) throw new RpcError('upstream_error', `The answer to ${method} has no ${member}`);
        items.push(...found.filter(isJsonObject));
        ttlMs = Math.min(ttlMs, typeof result.ttlMs === 'number' ? Math.max(0, Math.floor(result.ttlMs)) : 0);
        isPublic &&= result.cacheScope === 'public';
        cursor = result.nextCursor;
        if (typeof cursor !== 'string') return { service, items, ttlMs, isPublic };
      }
      throw new RpcError('upstream_error', `The answer to ${method} has more than ${MAX_PAGES} pages`);
    } catch (error) {
      if (timeout.signal.aborted) throw timeout.signal.reason as Error;
      if (isRpcError(error) && error.code === 'method_not_found')
        return { service, items: [], ttlMs: Number.POSITIVE_INFINITY, isPublic: true };
      throw error;
    } finally {
      cancelTimeout();
    }
  }

  #merge(method: ListMethod, lists: readonly ServiceList[], complete: boolean): RpcResult {
    const { clock, collision, onProblem } = this.#options;
    const { member, key, isItem } = LISTS[method];
    const directory = this.#directory(method);
    const now = clock.now();
    const merged: JsonObject[] = [];
    for (const { service, items } of lists) {
      directory.answered(service, now);
      for (const item of items) {
        const name = item[key];
        if (typeof name !== 'string' || !isItem(item)) {
          onProblem({ kind: 'malformed', method, service, name: String(name).slice(0, 256) });
          continue;
        }
        // A URI cannot be renamed: what is inside it belongs to the server.
        const exposed = collision === 'prefix' && key === 'name' ? `${service}__${name}` : name;
        const owner = directory.claim(exposed, service, name, now);
        if (owner === service) merged.push({ ...item, [key]: exposed });
        else onProblem({ kind: 'collision', method, name: exposed, keptBy: owner, refusedFrom: service });
      }
    }
    const ttlMs = Math.min(...lists.map((list) => list.ttlMs));
    return {
      [member]: merged,
      ttlMs: complete && Number.isFinite(ttlMs) ? ttlMs : 0,
      cacheScope: lists.every(({ isPublic }) => isPublic) ? 'public' : 'private',
    };
  }
}
