import { type Clock, type Random, type ServiceNode, type ServiceRegistry, systemClock } from '@mcp-blocks/core';
import { z } from 'zod';
import { machineOptions, parseOptions } from '../option-schemas.js';
import { type ConsulCheck, ConsulRegistration } from './consul-registration.js';
import { readService } from './consul-service.js';
import { Registrations } from './registrations.js';
import { RegistryHttp, type RegistryHttpOptions, registryHttpOptions } from './registry-http.js';
import { type ServiceFollower, ServiceWatches } from './service-watches.js';

/** Options of {@link ConsulDiscovery}. */
export interface ConsulDiscoveryOptions extends RegistryHttpOptions {
  /** ACL token, sent as `X-Consul-Token`. */
  readonly token?: string;
  /** Datacenter to ask. Default: the agent's own. */
  readonly datacenter?: string;
  /**
   * How the agent learns that a node registered here is alive. Default: `{ ttlMs: 15_000 }`, which this
   * process renews; `{ url, intervalMs }` lets the agent ask `/readyz` or the like of the node.
   */
  readonly check?: ConsulCheck;
  /** A node that stays critical for this long is forgotten by the agent; Consul takes a minute or more. Default: 60,000. */
  readonly forgetAfterMs?: number;
  /** Where nodes registered by others serve MCP, whose entry does not say. Default: `{ scheme: 'http', path: '/mcp' }`. */
  readonly defaults?: { readonly scheme?: 'http' | 'https' | 'ws' | 'wss'; readonly path?: string };
  readonly clock?: Clock;
  /** Random numbers in [0, 1), for the pauses between attempts. Default: `Math.random`. */
  readonly random?: Random;
}

const optionsSchema = z.strictObject({
  ...registryHttpOptions,
  ...machineOptions,
  token: z.string().min(1, 'expected a non-empty string').optional(),
  datacenter: z.string().min(1, 'expected a non-empty string').optional(),
  check: z
    .union([
      z.strictObject({ ttlMs: z.int().min(1_000).max(86_400_000) }),
      z.strictObject({ url: z.url({ protocol: /^https?$/ }), intervalMs: z.int().min(100).max(86_400_000) }),
    ])
    .default({ ttlMs: 15_000 }),
  forgetAfterMs: z.int().min(60_000, 'expected 60000 or more').default(60_000),
  defaults: z
    .strictObject({
      scheme: z.enum(['http', 'https', 'ws', 'wss']).default('http'),
      path: z.string().startsWith('/', "expected a path such as '/mcp'").default('/mcp'),
    })
    .prefault({}),
});

/** How long Consul holds a question that nothing has answered. */
const WAIT_MS = 55_000;

/**
 * Nodes in Consul: those of a service whose checks pass, followed by blocking queries. Works with entries
 * made here and with any others: address, port and weight are Consul's own; the service's metadata may hold
 * `mcp-url` (or `mcp-scheme` and `mcp-path`), `mcp-region` and `mcp-version`.
 *
 * A node registered here is kept alive in the agent it was registered at; if the agent has forgotten it (or
 * is another one), it is registered again.
 */
export class ConsulDiscovery implements ServiceRegistry {
  readonly #http: RegistryHttp;
  readonly #options: z.output<typeof optionsSchema>;
  readonly #clock: Clock;
  readonly #watches: ServiceWatches;
  readonly #registrations = new Registrations();

  /** @throws ConfigurationError for endpoints that are no URLs and values out of range. */
  constructor(options: ConsulDiscoveryOptions) {
    this.#options = parseOptions(optionsSchema, options);
    const { token } = this.#options;
    this.#http = new RegistryHttp('Consul', {
      ...options,
      headers: { ...options.headers, ...(token === undefined ? {} : { 'x-consul-token': token }) },
    });
    this.#clock = options.clock ?? systemClock;
    this.#watches = new ServiceWatches(this.#clock, options.random ?? Math.random);
  }

  nodes(service: string): Promise<readonly ServiceNode[]> {
    return this.#follower(service, () => {}).next(AbortSignal.any([]));
  }

  watch(
    service: string,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void = () => {},
  ): Promise<() => Promise<void>> {
    return this.#watches.start(this.#follower(service, onError), onChange, onError);
  }

  /**
   * @throws ConfigurationError for a node Consul cannot hold (its `metadata` as JSON over 512 characters);
   * RpcError `unavailable` when no agent answers.
   */
  async register(service: string, node: ServiceNode): Promise<() => Promise<void>> {
    const { check, forgetAfterMs } = this.#options;
    return await this.#registrations.enter(
      node,
      (checked) => new ConsulRegistration({ http: this.#http, service, node: checked, check, forgetAfterMs, clock: this.#clock }),
    );
  }

  /** Ends every watch and takes the nodes registered here out. */
  async close(): Promise<void> {
    await Promise.all([this.#watches.close(), this.#registrations.close()]);
    this.#http.close();
  }

  #follower(service: string, onError: (error: Error) => void): ServiceFollower {
    return new ConsulFollower(this.#http, service, this.#options, onError);
  }
}

/** One service by blocking queries (Consul documentation, "Blocking queries"). */
class ConsulFollower implements ServiceFollower {
  readonly #http: RegistryHttp;
  readonly #path: string;
  readonly #defaults: { readonly scheme: string; readonly path: string };
  readonly #onError: (error: Error) => void;
  #index = 0n;
  #list: readonly ServiceNode[] | undefined;
  #text = '';

  constructor(http: RegistryHttp, service: string, options: z.output<typeof optionsSchema>, onError: (error: Error) => void) {
    const { datacenter, defaults } = options;
    this.#http = http;
    this.#path = `/v1/health/service/${encodeURIComponent(service)}?passing=true${datacenter === undefined ? '' : `&dc=${encodeURIComponent(datacenter)}`}`;
    this.#defaults = defaults;
    this.#onError = onError;
  }

  async next(signal: AbortSignal): Promise<readonly ServiceNode[]> {
    const waiting = this.#index > 0n;
    const { body, headers } = await this.#ask(waiting ? `&index=${this.#index}&wait=${WAIT_MS / 1000}s` : '', signal);
    const index = BigInt(/^\d+$/.exec(String(headers['x-consul-index'] ?? ''))?.[0] ?? 0);
    // An index that went back means another history: ask without one.
    this.#index = index < this.#index ? 0n : index;
    const text = JSON.stringify(body);
    // The index moves with any change of the service's checks, such as each one's output.
    if (this.#list !== undefined && text === this.#text) return this.#list;
    this.#text = text;
    const nodes = z
      .array(z.unknown())
      .parse(body)
      .map((entry) => readService(entry, this.#defaults));
    for (const problem of nodes) if (problem instanceof Error) this.#onError(problem);
    const list = nodes.filter((node): node is ServiceNode => !(node instanceof Error));
    if (this.#list === undefined || JSON.stringify(list) !== JSON.stringify(this.#list)) this.#list = list;
    return this.#list;
  }

  async #ask(query: string, signal: AbortSignal) {
    try {
      // Consul adds up to a sixteenth of the wait on its own.
      return await this.#http.request({ path: this.#path + query, signal, extraTimeMs: query === '' ? 0 : WAIT_MS * 1.1 });
    } catch (error) {
      this.#index = 0n;
      throw error;
    }
  }
}
