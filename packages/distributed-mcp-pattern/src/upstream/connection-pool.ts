import {
  type CancelTimer,
  type Clock,
  canonicalJson,
  isRpcError,
  type JsonObject,
  type Principal,
  RpcError,
  type ServiceNode,
} from '@mcp-blocks/core';
import { abortable } from '../abortable.js';
import { identityKey } from './identity.js';
import { type Connect, TransportFailure, type Upstream } from './upstream.js';

/** What the cluster presents to a node. */
export interface NodeCredentials {
  /** Request headers, such as `authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Epoch milliseconds after which they are not used any more. Default: as long as the caller's identity. */
  readonly expiresAt?: number;
}

/** Why credentials are asked for. */
export interface CredentialsRequest {
  /** The node has refused those given before: kept ones are of no use. */
  readonly refused: boolean;
}

/**
 * Gives the cluster's own credentials for a node, on behalf of a principal (`undefined`: the cluster
 * itself, for health checks). The caller's token is never passed on.
 */
export type CredentialsProvider = (
  node: ServiceNode,
  principal: Principal | undefined,
  request: CredentialsRequest,
) => NodeCredentials | Promise<NodeCredentials>;

/** Options of {@link ConnectionPool}. */
export interface ConnectionPoolOptions {
  /** The node as discovery describes it now. */
  readonly node: () => ServiceNode;
  readonly connect: Connect;
  readonly credentials: CredentialsProvider | undefined;
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
}

/** For whom a connection is used. */
export interface PoolUser {
  readonly principal: Principal | undefined;
  /** What the caller can be asked for, in the words of the legacy handshake. Absent: nothing. */
  readonly questions?: JsonObject | undefined;
}

interface Entry {
  readonly upstream: Promise<Upstream>;
  opened?: Upstream;
  expiresAt: number;
  users: number;
  retired: boolean;
  cancelIdle?: CancelTimer;
}

/** Idle connections kept per node; the one unused for longest goes first. */
const MAX_IDLE = 256;

/**
 * The connections to one node: one per identity and what its callers can be asked for, opened when needed,
 * closed when idle, expired or broken. Where a node cannot say which call it asks for (`onePerCall`), such
 * calls have connections of their own, as many as there are calls at a time.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #closing = new Set<Promise<void>>();
  readonly #abort = new AbortController();

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * Runs `use` on the user's connection. Rejects with what connecting or `use` rejects with. When the
   * node does not accept the credentials of a connection kept from before, `use` runs again on a new one.
   */
  async use<T>(user: PoolUser, signal: AbortSignal, use: (upstream: Upstream) => Promise<T>): Promise<T> {
    const base = this.#keyOf(user);
    for (let place = 0; ; place += 1) {
      const key = place === 0 ? base : `${base} ${place}`;
      const kept = this.#live(key);
      const entry = kept ?? this.#open(key, user);
      // Others may wait for the same connection to open; whether they can share it is known afterwards.
      if (user.questions !== undefined && entry.users > 0 && entry.opened === undefined) await this.#opened(entry, signal);
      if (user.questions !== undefined && entry.users > 0 && entry.opened?.onePerCall === true) continue;
      try {
        return await this.#useEntry(key, entry, signal, use);
      } catch (error) {
        if (kept === undefined || !isRefusal(error) || this.#options.credentials === undefined) throw error;
        return this.#useEntry(key, this.#live(key) ?? this.#open(key, user, true), signal, use);
      }
    }
  }

  /** Closes every connection, those in use included. */
  async close(): Promise<void> {
    this.#abort.abort(new TransportFailure('The cluster has closed its connections', { delivery: 'unknown', blamesNode: false }));
    for (const [key, entry] of [...this.#entries]) {
      this.#retire(key, entry);
      this.#end(entry);
    }
    await Promise.all(this.#closing);
  }

  #keyOf({ principal, questions }: PoolUser): string {
    // Without credentials of their own, all callers look the same to the node.
    const identity = this.#options.credentials === undefined ? '' : identityKey(principal);
    return questions === undefined ? identity : `${identity} ${canonicalJson(questions)}`;
  }

  async #opened(entry: Entry, signal: AbortSignal): Promise<void> {
    try {
      await abortable(entry.upstream, signal);
    } catch {
      // Whoever uses it hears why.
    }
  }

  async #useEntry<T>(key: string, entry: Entry, signal: AbortSignal, use: (upstream: Upstream) => Promise<T>): Promise<T> {
    entry.users += 1;
    entry.cancelIdle?.();
    try {
      // One caller's leaving must not cancel the connecting that others wait for too.
      return await use(await abortable(entry.upstream, signal));
    } catch (error) {
      if (error instanceof TransportFailure && (error.delivery === 'unknown' || isRefusal(error))) this.#retire(key, entry);
      throw error;
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#onIdle(key, entry);
    }
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt > this.#options.clock.now() && entry.opened?.closed !== true) return entry;
    this.#retire(key, entry);
    if (entry.users === 0) this.#end(entry);
    return undefined;
  }

  #open(key: string, { principal, questions }: PoolUser, refused = false): Entry {
    const { node, connect, credentials } = this.#options;
    const open = async (): Promise<Upstream> => {
      const own = await mint(credentials, node(), principal, refused);
      if (own !== undefined) {
        entry.expiresAt = Math.min(own.expiresAt ?? Number.POSITIVE_INFINITY, principal?.expiresAt ?? Number.POSITIVE_INFINITY);
      }
      const clientCapabilities = questions === undefined ? {} : { clientCapabilities: questions };
      return connect(node(), { headers: own?.headers ?? {}, ...clientCapabilities, signal: this.#abort.signal });
    };
    const entry: Entry = {
      // A turn later, when the entry it writes to exists.
      upstream: Promise.resolve().then(open),
      expiresAt: Number.POSITIVE_INFINITY,
      users: 0,
      retired: false,
    };
    this.#entries.set(key, entry);
    entry.upstream.then(
      (upstream) => (entry.opened = upstream),
      () => this.#retire(key, entry),
    );
    return entry;
  }

  #onIdle(key: string, entry: Entry): void {
    if (entry.retired) {
      this.#end(entry);
      return;
    }
    entry.cancelIdle = this.#options.clock.setTimeout(() => {
      this.#retire(key, entry);
      this.#end(entry);
    }, this.#options.idleTimeoutMs);
    // Map order is order of use: the first idle one has been idle for longest.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= MAX_IDLE) return;
    for (const [otherKey, other] of this.#entries) {
      if (other.users > 0) continue;
      this.#retire(otherKey, other);
      this.#end(other);
      return;
    }
  }

  #retire(key: string, entry: Entry): void {
    entry.retired = true;
    entry.cancelIdle?.();
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  #end(entry: Entry): void {
    const closing = entry.upstream
      .then((upstream) => upstream.close())
      // It never opened, or is broken already.
      .catch(() => {})
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof TransportFailure && error.status === 401;
}

/** Asks for credentials. @throws RpcError as the provider does; `upstream_error` for any other failure of it. */
export async function mint(
  credentials: CredentialsProvider | undefined,
  node: ServiceNode,
  principal: Principal | undefined,
  refused = false,
): Promise<NodeCredentials | undefined> {
  try {
    return await credentials?.(node, principal, { refused });
  } catch (error) {
    // `unavailable` would be held against the node.
    if (isRpcError(error) && error.code !== 'unavailable') throw error;
    throw new RpcError('upstream_error', 'No credentials for the upstream service could be had', {
      cause: error,
      auditReason: error instanceof Error ? error.message : String(error),
    });
  }
}
