import { promises as dns } from 'node:dns';
import {
  type Clock,
  ConfigurationError,
  type Discovery,
  type Random,
  RpcError,
  type ServiceNode,
  sleep,
  systemClock,
} from '@mcp-blocks/core';
import { z } from 'zod';
import { machineOptions, parseOptions } from '../option-schemas.js';
import { type ServiceFollower, ServiceWatches } from './service-watches.js';

/** Options of {@link DnsDiscovery}. */
export interface DnsDiscoveryOptions {
  /**
   * What to look up. `SRV` (RFC 2782): host names, ports and weights, of those only the most preferred
   * priority; the service's name is then such as `_mcp._tcp.example.com`. `A` and `AAAA`: addresses, all on
   * `port`. Default: `SRV`.
   */
  readonly record?: 'SRV' | 'A' | 'AAAA';
  /** Where the nodes listen; required with `A` and `AAAA`, and only there. */
  readonly port?: number;
  /** Default: `https`. */
  readonly scheme?: 'http' | 'https' | 'ws' | 'wss';
  /** Default: `/mcp`. */
  readonly path?: string;
  /** Milliseconds between two lookups of a watch, up to a tenth sooner by chance; 100 or more. Default: 30,000. */
  readonly refreshIntervalMs?: number;
  /** Name servers as `address` or `address:port`. Default: the system's. */
  readonly servers?: readonly string[];
  /** Milliseconds a name server has for an answer; the second try has longer. Default: 2,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  /** Random numbers in [0, 1). Default: `Math.random`. */
  readonly random?: Random;
}

const optionsSchema = z.strictObject({
  ...machineOptions,
  record: z.enum(['SRV', 'A', 'AAAA'], 'expected SRV, A or AAAA').default('SRV'),
  port: z.int().min(1, 'expected 1 to 65535').max(65_535, 'expected 1 to 65535').optional(),
  scheme: z.enum(['http', 'https', 'ws', 'wss'], 'expected http, https, ws or wss').default('https'),
  path: z.string().startsWith('/', "expected a path such as '/mcp'").default('/mcp'),
  refreshIntervalMs: z.int().min(100, 'expected 100 or more').max(2_147_483_647).default(30_000),
  servers: z.array(z.string()).min(1, 'expected at least one name server').optional(),
  timeoutMs: z.int().min(1).max(60_000).default(2_000),
});

/**
 * Nodes in DNS, looked up again and again. A node's id is `host:port`. A name that does not exist, or has no
 * such records, is a service without nodes; a name server that fails or does not answer changes nothing.
 */
export class DnsDiscovery implements Discovery {
  readonly #options: z.output<typeof optionsSchema>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #resolver: dns.Resolver;
  readonly #watches: ServiceWatches;

  /** @throws ConfigurationError for values out of range. */
  constructor(options: DnsDiscoveryOptions = {}) {
    this.#options = parseOptions(optionsSchema, options);
    const { record, port, servers, timeoutMs } = this.#options;
    if ((record === 'SRV') !== (port === undefined)) {
      throw new ConfigurationError('port', record === 'SRV' ? 'comes from the SRV records' : `required with ${record} records`);
    }
    this.#resolver = new dns.Resolver({ timeout: timeoutMs, tries: 2 });
    try {
      if (servers !== undefined) this.#resolver.setServers(servers);
    } catch {
      throw new ConfigurationError('servers', `expected addresses such as 10.0.0.2 or 10.0.0.2:53, got ${JSON.stringify(servers)}`);
    }
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#watches = new ServiceWatches(this.#clock, this.#random);
  }

  nodes(service: string): Promise<readonly ServiceNode[]> {
    return this.#lookUp(service);
  }

  watch(
    service: string,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void = () => {},
  ): Promise<() => Promise<void>> {
    let list: readonly ServiceNode[] | undefined;
    const follower: ServiceFollower = {
      next: async (signal) => {
        const { refreshIntervalMs } = this.#options;
        // Not all at once, where many processes have started together.
        if (list !== undefined) await sleep(this.#clock, refreshIntervalMs * (1 - this.#random() / 10), signal);
        const found = await this.#lookUp(service);
        if (list === undefined || JSON.stringify(found) !== JSON.stringify(list)) list = found;
        return list;
      },
    };
    return this.#watches.start(follower, onChange, onError);
  }

  async close(): Promise<void> {
    this.#resolver.cancel();
    await this.#watches.close();
  }

  async #lookUp(service: string): Promise<readonly ServiceNode[]> {
    try {
      const nodes = this.#options.record === 'SRV' ? await this.#services(service) : await this.#addresses(service);
      return nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === dns.NOTFOUND || code === dns.NODATA) return [];
      throw new RpcError('unavailable', `The name server does not answer for '${service}': ${code}`, { cause: error });
    }
  }

  async #services(service: string): Promise<ServiceNode[]> {
    const records = await this.#resolver.resolveSrv(service);
    const preferred = Math.min(...records.map(({ priority }) => priority));
    return records
      .filter(({ priority }) => priority === preferred)
      .map(({ name, port, weight }) => ({ ...this.#node(name, port), ...(weight > 1 ? { weight } : {}) }));
  }

  async #addresses(service: string): Promise<ServiceNode[]> {
    const { record, port } = this.#options;
    const addresses = record === 'A' ? await this.#resolver.resolve4(service) : await this.#resolver.resolve6(service);
    return addresses.map((address) => this.#node(address.includes(':') ? `[${address}]` : address, port as number));
  }

  #node(host: string, port: number): ServiceNode {
    const { scheme, path } = this.#options;
    return { id: `${host}:${port}`, url: `${scheme}://${host}:${port}${path}` };
  }
}
