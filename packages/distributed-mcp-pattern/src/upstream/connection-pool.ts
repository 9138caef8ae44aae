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
import { SessionLost } from './sdk-failure.js';
import { type Connect, TransportFailure, type Upstream, type UpstreamSession } from './upstream.js';

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

/** The session of a caller that is to go on in one of its own at the node. */
export interface PoolSession {
  readonly key: string;
  /** The one it is in there, as far as is known. */
  readonly found: UpstreamSession | undefined;
  /** Goes on with the session at the node, unless it is the one that was lost, or makes a new one. */
  open(lost: string | undefined, connect: (session: UpstreamSession | 'new') => Promise<Upstream>, signal: AbortSignal): Promise<Upstream>;
}

/** For whom a connection is used. */
export interface PoolUser {
  readonly principal: Principal | undefined;
  /** What the caller can be asked for, in the words of the legacy handshake. Absent: nothing. */
  readonly questions?: JsonObject | undefined;
  /** Absent: it shares connections, and their sessions, with others like it. */
  readonly session?: PoolSession | undefined;
}

interface Entry {
  readonly upstream: Promise<Upstream>;
  opened?: Upstream;
  /** The session it was opened in; the connection forgets it when it is closed. */
  session?: UpstreamSession | undefined;
  expiresAt: number;
  users: number;
  retired: boolean;
  /** Whether the session at the node is not the connection's to end. */
  readonly leaves: boolean;
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
  /** Known after the first connection that asked for a session. */
  #hasSessions = true;

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
    if (user.session !== undefined && this.#hasSessions) return this.#useSession(user, user.session, signal, use);
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
        if (kept === undefined || !this.#mayHelp(error)) throw error;
        return this.#useEntry(key, this.#live(key) ?? this.#open(key, user, isRefusal(error)), signal, use);
      }
    }
  }

  /** All calls of a session use one connection, whatever they may ask: the session is one. */
  async #useSession<T>(user: PoolUser, session: PoolSession, signal: AbortSignal, use: (upstream: Upstream) => Promise<T>): Promise<T> {
    const key = `${this.#keyOf({ principal: user.principal })} session ${session.key}`;
    const known = this.#live(key);
    const opened = known?.session;
    // Another process has moved it.
    if (known !== undefined && opened !== undefined && session.found !== undefined && opened.id !== session.found.id) {
      this.#retire(key, known);
      if (known.users === 0) this.#end(known);
    }
    const kept = this.#live(key);
    const entry = kept ?? this.#open(key, user);
    try {
      return await this.#useEntry(key, entry, signal, use);
    } catch (error) {
      const lost = error instanceof SessionLost ? entry.session?.id : undefined;
      if (lost === undefined && (kept === undefined || !this.#mayHelp(error))) throw error;
      return this.#useEntry(key, this.#live(key) ?? this.#open(key, user, isRefusal(error), lost), signal, use);
    }
  }

  /** Whether a new connection may do what one kept from before could not. */
  #mayHelp(error: unknown): boolean {
    return error instanceof SessionLost || (isRefusal(error) && this.#options.credentials !== undefined);
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
      if (error instanceof TransportFailure && (error.delivery === 'unknown' || isRefusal(error) || error instanceof SessionLost))
        this.#retire(key, entry);
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

  #open(key: string, { principal, questions, session }: PoolUser, refused = false, lost?: string): Entry {
    const own = this.#hasSessions ? session : undefined;
    const { node, connect, credentials } = this.#options;
    const open = async (): Promise<Upstream> => {
      const minted = await mint(credentials, node(), principal, refused);
      if (minted !== undefined) {
        entry.expiresAt = Math.min(minted.expiresAt ?? Number.POSITIVE_INFINITY, principal?.expiresAt ?? Number.POSITIVE_INFINITY);
      }
      const clientCapabilities = questions === undefined ? {} : { clientCapabilities: questions };
      const { signal } = this.#abort;
      const options = { headers: minted?.headers ?? {}, ...clientCapabilities, signal };
      if (own === undefined) return connect(node(), options);
      const upstream = await own.open(lost, (resumed) => connect(node(), { ...options, session: resumed }), signal);
      if (upstream.session === undefined) this.#hasSessions = false;
      return upstream;
    };
    const entry: Entry = {
      // A turn later, when the entry it writes to exists.
      upstream: Promise.resolve().then(open),
      expiresAt: Number.POSITIVE_INFINITY,
      users: 0,
      retired: false,
      leaves: own !== undefined,
    };
    this.#entries.set(key, entry);
    entry.upstream.then(
      (upstream) => {
        entry.opened = upstream;
        entry.session = upstream.session;
      },
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
      .then((upstream) => (entry.leaves && upstream.leave !== undefined ? upstream.leave() : upstream.close()))
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
