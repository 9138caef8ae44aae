import { fileURLToPath } from 'node:url';
import { ConfigurationError, MemoryStateStore, type StateStore } from '@mcp-blocks/core';

/** Options of {@link createStateStore}. */
export interface StateStoreConfig {
  /** `memory`: this process; `sqlite`: this machine; the others: any number of machines. */
  readonly provider: 'memory' | 'sqlite' | 'redis' | 'redis-cluster' | 'hazelcast';
  /**
   * Where it is. `memory`: none; `sqlite`: a path or `file:` URL; `redis`: a `redis://` or `rediss://` URL;
   * `redis-cluster`: one or more such URLs, of nodes to begin with; `hazelcast`: one or more `hazelcast://` or
   * `hazelcasts://` (TLS) URLs, of members to begin with, the name of the cluster as their path.
   */
  readonly endpoints?: readonly string[];
  /**
   * For `redis`, URLs of the Sentinels that know the server; the host of the endpoint is then the name they know it
   * by: `redis://:password@mymaster/0`.
   */
  readonly sentinels?: readonly string[];
}

/** How many endpoints a provider takes. */
const ENDPOINTS = { memory: 'none', sqlite: 'one', redis: 'one', 'redis-cluster': 'one or more', hazelcast: 'one or more' } as const;

/**
 * Makes the store a configuration names. A driver is loaded when it is used: `ioredis` and `hazelcast-client` need not
 * be installed for the others.
 *
 * @throws ConfigurationError when the provider is unknown, the number of endpoints is wrong, an endpoint
 * is, or the driver's package is not installed.
 */
export async function createStateStore({ provider, endpoints = [], sentinels }: StateStoreConfig): Promise<StateStore> {
  const [endpoint = ''] = endpoints;
  const expected = ENDPOINTS[provider];
  if (expected === undefined) {
    throw new ConfigurationError('provider', `expected 'memory', 'sqlite', 'redis', 'redis-cluster' or 'hazelcast', got '${provider}'`);
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
  if (provider === 'hazelcast') {
    const { HazelcastStateStore } = await import('./hazelcast.js').catch(missing(provider, 'hazelcast-client'));
    return new HazelcastStateStore({ urls: endpoints });
  }
  const { RedisStateStore } = await import('./redis.js').catch(missing(provider, 'ioredis'));
  if (provider === 'redis-cluster') return new RedisStateStore({ clusterUrls: endpoints });
  return new RedisStateStore({ url: endpoint, ...(sentinels === undefined ? {} : { sentinels }) });
}

function missing(provider: string, name: string) {
  return (cause: unknown): never => {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new ConfigurationError('provider', `'${provider}' needs the package ${name}: npm install ${name}`);
  };
}
