import { ConfigurationError, RpcError } from '@mcp-blocks/core';
import { CacheStore, type CacheStoreOptions } from './cache-store.js';
import { type MCPClientConfig, resolveConfig } from './config.js';
import { MCPClientPattern } from './mcp-client-pattern.js';
import type { MCPClientMetrics } from './metrics.js';

/** Options of {@link MCPClients}. */
export interface MCPClientsOptions<Name extends string = string> {
  /** A client's configuration by a name of your choice. */
  readonly servers: Readonly<Record<Name, MCPClientConfig>>;
  /** For every server whose own configuration does not say otherwise, option by option. */
  readonly defaults?: Omit<MCPClientConfig, 'serverUrl' | 'webSocketUrl'>;
  /** One cache of this size for all of them. Default: each has its own. */
  readonly sharedCache?: CacheStoreOptions;
}

/** Clients of several servers: each made when it is first asked for, connected by its first request, closed with the others. */
export class MCPClients<Name extends string = string> {
  readonly #configs: ReadonlyMap<string, MCPClientConfig>;
  readonly #clients = new Map<string, MCPClientPattern>();
  #closed = false;

  /** @throws ConfigurationError naming the option that is wrong, such as `servers.files.serverUrl`. */
  constructor({ servers, defaults = {}, sharedCache }: MCPClientsOptions<Name>) {
    const store = sharedCache === undefined ? undefined : within('sharedCache', () => new CacheStore(sharedCache));
    const configs = new Map<string, MCPClientConfig>();
    for (const [name, own] of Object.entries<MCPClientConfig>(servers)) {
      const merged: MCPClientConfig = { ...defaults, ...own };
      const config = store === undefined ? merged : { ...merged, cacheOptions: { ...merged.cacheOptions, store } };
      within(`servers.${name}`, () => resolveConfig(config));
      configs.set(name, config);
    }
    this.#configs = configs;
  }

  get names(): readonly Name[] {
    return [...this.#configs.keys()] as Name[];
  }

  /**
   * The client of a server, the same every time.
   *
   * @throws ConfigurationError when there is no server of that name; RpcError `cancelled` when they are closed.
   */
  client(name: Name): MCPClientPattern {
    if (this.#closed) throw new RpcError('cancelled', 'The clients have been closed');
    const config = this.#configs.get(name);
    if (config === undefined) throw new ConfigurationError('servers', `there is no '${name}' among ${this.names.join(', ')}`);
    const client = this.#clients.get(name) ?? new MCPClientPattern(config);
    this.#clients.set(name, client);
    return client;
  }

  /** The metrics of the clients made so far, by name. */
  getMetrics(): Readonly<Record<string, MCPClientMetrics>> {
    return Object.fromEntries([...this.#clients].map(([name, client]) => [name, client.getMetrics()]));
  }

  /** Closes all of them. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Says where a mistake is. */
function within<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new ConfigurationError(`${path}.${error.option}`, error.message.slice(error.option.length + 2));
  }
}
