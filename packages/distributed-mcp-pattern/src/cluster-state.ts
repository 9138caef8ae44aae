import { type JsonValue, type Lock, RpcError, type StateStore } from '@mcp-blocks/core';
import { createStateStore } from '@mcp-blocks/shared-state';

/** Where a cluster keeps what its processes share. */
export interface StateManagementConfig {
  /** `memory`: this process only; `sqlite`: this machine; the others: any number of machines. Default: `memory`. */
  readonly provider?: 'memory' | 'sqlite' | 'redis' | 'redis-cluster' | 'hazelcast';
  /**
   * One path for `sqlite`, one URL for `redis`, URLs of nodes to begin with for `redis-cluster` and `hazelcast`, none for
   * `memory`.
   */
  readonly endpoints?: readonly string[];
  /** For `redis`, URLs of the Sentinels that know the server; the endpoint's host is then the name they know it by. */
  readonly sentinels?: readonly string[];
  /** A store of your own instead. It stays its owner's: the cluster does not close it. */
  readonly store?: StateStore;
  /** How long a session is kept after it was last set, in milliseconds; 1 or more. Default: 3,600,000. */
  readonly sessionTtl?: number;
}

/** Sessions, shared data and locks of one cluster, under keys of its own. */
export class ClusterState {
  readonly #config: StateManagementConfig & { readonly sessionTtl: number };
  readonly #prefix: string;
  #store: Promise<StateStore> | undefined;

  constructor(clusterName: string, config: StateManagementConfig & { readonly sessionTtl: number }) {
    this.#config = config;
    this.#prefix = `cluster:${encodeURIComponent(clusterName)}`;
  }

  /** @throws ConfigurationError when the endpoints do not fit the provider. */
  open(): Promise<StateStore> {
    const { store, provider = 'memory', endpoints, sentinels } = this.#config;
    const optional = { ...(endpoints === undefined ? {} : { endpoints }), ...(sentinels === undefined ? {} : { sentinels }) };
    this.#store ??= store === undefined ? createStateStore({ provider, ...optional }) : Promise.resolve(store);
    return this.#store;
  }

  async getSession(sessionId: string): Promise<JsonValue | undefined> {
    return (await this.#opened()).get(`${this.#prefix}:session:${sessionId}`);
  }

  async setSession(sessionId: string, session: JsonValue): Promise<void> {
    await (await this.#opened()).set(`${this.#prefix}:session:${sessionId}`, session, { ttlMs: this.#config.sessionTtl });
  }

  async getUpstreamSession(key: string): Promise<JsonValue | undefined> {
    return (await this.#opened()).get(`${this.#prefix}:upstream:${key}`);
  }

  async setUpstreamSession(key: string, session: JsonValue): Promise<void> {
    await (await this.#opened()).set(`${this.#prefix}:upstream:${key}`, session, { ttlMs: this.#config.sessionTtl });
  }

  /** Resolves with whether `from` was still there. */
  async replaceUpstreamSession(key: string, from: JsonValue, to: JsonValue): Promise<boolean> {
    const options = { ttlMs: this.#config.sessionTtl };
    return (await this.#opened()).compareAndSet(`${this.#prefix}:upstream:${key}`, from, to, options);
  }

  async getSharedData(key: string): Promise<JsonValue | undefined> {
    return (await this.#opened()).get(`${this.#prefix}:data:${key}`);
  }

  async setSharedData(key: string, value: JsonValue, ttlMs?: number): Promise<void> {
    await (await this.#opened()).set(`${this.#prefix}:data:${key}`, value, ttlMs === undefined ? {} : { ttlMs });
  }

  async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
    return (await this.#opened()).acquireLock(`${this.#prefix}:lock:${key}`, ttlMs);
  }

  async releaseLock(key: string, token: string): Promise<boolean> {
    return (await this.#opened()).releaseLock(`${this.#prefix}:lock:${key}`, token);
  }

  async close(): Promise<void> {
    const store = await this.#store?.catch(() => undefined);
    if (this.#config.store === undefined) await store?.close();
  }

  #opened(): Promise<StateStore> {
    return this.#store ?? Promise.reject(new RpcError('unavailable', 'The cluster was not started'));
  }
}
