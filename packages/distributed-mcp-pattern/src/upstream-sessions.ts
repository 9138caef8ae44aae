import { createHash } from 'node:crypto';
import {
  type Clock,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type JsonValue,
  principalKey,
  type RpcContext,
  RpcError,
  sleep,
} from '@mcp-blocks/core';
import type { ClusterState } from './cluster-state.js';
import type { PoolSession } from './upstream/connection-pool.js';
import type { Upstream, UpstreamSession } from './upstream/upstream.js';

/** Where a caller's session is, and what goes on with it there. */
interface SessionRecord {
  readonly node: string;
  readonly session: UpstreamSession;
  readonly touchedAt: number;
}

/** A caller's session on its way to a node. */
export interface SessionRoute {
  /** The node it is at; none before its first call. */
  readonly node: string | undefined;
  at(nodeId: string): PoolSession;
}

/** Longest a handshake keeps the others from making one of their own. */
const LOCK_MS = 10_000;
const LOCK_PAUSE_MS = 25;

/**
 * Keeps in shared state which node a legacy caller's session is at, and by which session there: every process
 * of the cluster goes on with the same one, and the first to find it lost makes another.
 */
export class UpstreamSessions {
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #ttlMs: number;

  constructor(state: ClusterState, clock: Clock, ttlMs: number) {
    this.#state = state;
    this.#clock = clock;
    this.#ttlMs = ttlMs;
  }

  /** Of callers with a session. @throws RpcError `unavailable` when the state cannot be reached. */
  async of(context: RpcContext | undefined): Promise<SessionRoute | undefined> {
    if (context?.sessionId === undefined) return undefined;
    const key = createHash('sha256')
      .update(JSON.stringify([principalKey(context.principal), context.sessionId]))
      .digest('base64url');
    const record = await this.#find(key);
    if (record !== undefined && this.#clock.now() - record.touchedAt > this.#ttlMs / 4) {
      await this.#state.replaceUpstreamSession(key, asJson(record), asJson({ ...record, touchedAt: this.#clock.now() }));
    }
    return {
      node: record?.node,
      at: (nodeId) => ({
        key,
        found: record?.node === nodeId ? record.session : undefined,
        open: (lost, connect, signal) => this.#guarded(() => this.#open(key, nodeId, lost, connect, signal)),
      }),
    };
  }

  async #open(
    key: string,
    nodeId: string,
    lost: string | undefined,
    connect: (session: UpstreamSession | 'new') => Promise<Upstream>,
    signal: AbortSignal,
  ): Promise<Upstream> {
    const found = async () => {
      const record = await this.#find(key);
      return record?.node === nodeId && record.session.id !== lost ? record.session : undefined;
    };
    for (;;) {
      const session = await found();
      if (session !== undefined) return connect(session);
      const lock = await this.#state.acquireLock(`upstream:${key}`, LOCK_MS);
      if (lock === undefined) {
        await sleep(this.#clock, LOCK_PAUSE_MS, signal);
        continue;
      }
      try {
        const meanwhile = await found();
        if (meanwhile !== undefined) return await connect(meanwhile);
        const upstream = await connect('new');
        // Nodes without sessions have nothing to go on with.
        if (upstream.session === undefined) return upstream;
        const record = { node: nodeId, session: upstream.session, touchedAt: this.#clock.now() };
        await this.#state.setUpstreamSession(key, asJson(record));
        return upstream;
      } finally {
        await this.#state.releaseLock(`upstream:${key}`, lock.token).catch(() => {});
      }
    }
  }

  /** A failure of the state is none of the node. */
  async #guarded(open: () => Promise<Upstream>): Promise<Upstream> {
    try {
      return await open();
    } catch (error) {
      if (!isRpcError(error) || error.code !== 'unavailable') throw error;
      throw new RpcError('upstream_error', 'Where the session is cannot be found out now', { cause: error });
    }
  }

  async #find(key: string): Promise<SessionRecord | undefined> {
    const record = await this.#state.getUpstreamSession(key);
    return isJsonObject(record) ? (record as unknown as SessionRecord) : undefined;
  }
}

function asJson(record: SessionRecord): JsonValue {
  return record as unknown as JsonObject;
}
