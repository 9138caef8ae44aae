import { fileURLToPath } from 'node:url';
import { ConfigurationError, MemoryStateStore, type StateStore } from '@mcp-blocks/core';

/** Options of {@link createStateStore}. */
export interface StateStoreConfig {
  /** `memory`: this process; `sqlite`: this machine; `redis`: any number of machines. */
  readonly provider: 'memory' | 'sqlite' | 'redis';
  /**
   * Where it is, exactly one for `sqlite` (a path or `file:` URL) and `redis` (a `redis://` or `rediss://`
   * URL), none for `memory`.
   */
  readonly endpoints?: readonly string[];
}

/**
 * Makes the store a configuration names. A driver is loaded when it is used: `ioredis` need not be
 * installed for the others.
 *
 * @throws ConfigurationError when the provider is unknown, the number of endpoints is wrong, the endpoint
 * is, or `ioredis` is not installed.
 */
export async function createStateStore({ provider, endpoints = [] }: StateStoreConfig): Promise<StateStore> {
  const expected = provider === 'memory' ? 0 : 1;
  const [endpoint = ''] = endpoints;
  if (!['memory', 'sqlite', 'redis'].includes(provider)) {
    throw new ConfigurationError('provider', `expected 'memory', 'sqlite' or 'redis', got '${provider}'`);
  }
  if (endpoints.length !== expected) {
    throw new ConfigurationError('endpoints', `expected ${expected === 0 ? 'none' : 'one'} for '${provider}', got ${endpoints.length}`);
  }
  if (provider === 'memory') return new MemoryStateStore();
  if (provider === 'sqlite') {
    const { SqliteStateStore } = await import('./sqlite.js');
    return new SqliteStateStore({ path: endpoint.startsWith('file:') ? fileURLToPath(endpoint) : endpoint });
  }
  const { RedisStateStore } = await import('./redis.js').catch((cause: unknown) => {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new ConfigurationError('provider', "'redis' needs the package ioredis: npm install ioredis");
  });
  return new RedisStateStore({ url: endpoint });
}
