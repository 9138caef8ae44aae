import { fileURLToPath } from 'node:url';
import { ConfigurationError, MemoryStateStore, type StateStore } from '@mcp-blocks/core';

/** Options of {@link createStateStore}. */
export interface StateStoreConfig {
  /** `memory`: this process; `sqlite`: this machine; `redis` and `redis-cluster`: any number of machines. */
  readonly provider: 'memory' | 'sqlite' | 'redis' | 'redis-cluster';
  /**
   * Where it is. `memory`: none; `sqlite`: a path or `file:` URL; `redis`: a `redis://` or `rediss://` URL;
   * `redis-cluster`: one or more such URLs, of nodes to begin with.
   */
  readonly endpoints?: readonly string[];
  /**
   * For `redis`, URLs of the Sentinels that know the server; the host of the endpoint is then the name they know it
   * by: `redis://:password@mymaster/0`.
   */
  readonly sentinels?: readonly string[];
}

/** How many endpoints a provider takes. */
const ENDPOINTS = { memory: 'none', sqlite: 'one', redis: 'one', 'redis-cluster': 'one or more' } as const;

/**
 * Makes the store a configuration names. A driver is loaded when it is used: `ioredis` need not be
 * installed for the others.
 *
 * @throws ConfigurationError when the provider is unknown, the number of endpoints is wrong, an endpoint
 * is, or `ioredis` is not installed.
 */
export async function createStateStore({ provider, endpoints = [], sentinels }: StateStoreConfig): Promise<StateStore> {
  const [endpoint = ''] = endpoints;
  const expected = ENDPOINTS[provider];
  if (expected === undefined) {
    throw new ConfigurationError('provider', `expected 'memory', 'sqlite', 'redis' or 'redis-cluster', got '${provider}'`);
  }
  const isFitting = { none: endpoints.length === 0, one: endpoints.length === 1, 'one or more': endpoints.length > 0 }[expected];
  if (!isFitting) throw new ConfigurationError('endpoints', `expected ${expected} for '${provider}', got ${endpoints.length}`);
  if (sentinels !== undefined && provider !== 'redis') {
    throw new ConfigurationError('sentinels', `expected with 'redis' only, got it with '${provider}'`);
  }
  if (provider === 'memory') return new MemoryStateStore();
  if (provider === 'sqlite') {
    const { SqliteStateStore } = await import('./sqlite.js');
    return new SqliteStateStore({ path: endpoint.startsWith('file:') ? fileURLToPath(endpoint) : endpoint });
  }
  const { RedisStateStore } = await import('./redis.js').catch((cause: unknown) => {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new ConfigurationError('provider', `'${provider}' needs the package ioredis: npm install ioredis`);
  });
  if (provider === 'redis-cluster') return new RedisStateStore({ clusterUrls: endpoints });
  return new RedisStateStore({ url: endpoint, ...(sentinels === undefined ? {} : { sentinels }) });
}
