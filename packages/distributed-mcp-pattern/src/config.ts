import { type Clock, ConfigurationError, type Discovery, type Random, type ServiceNode, type StateStore } from '@mcp-blocks/core';
import { z } from 'zod';
import { type BalancingConfig, balancingSchemas } from './balancing/config.js';
import type { StateManagementConfig } from './cluster-state.js';
import { callable, positive } from './option-schemas.js';
import { type ResilienceConfig, resilienceSchemas } from './resilience/config.js';
import type { CredentialsProvider } from './upstream/connection-pool.js';
import type { Connect } from './upstream/upstream.js';

/** Where the nodes of a cluster come from. */
export interface DiscoveryConfig {
  /** The service's name in the registry, and in messages. */
  readonly serviceName: string;
  /**
   * `etcd`: URLs of the etcd members, such as `http://127.0.0.1:2379`, tried in order.
   * `static`: URLs of the nodes themselves, which get the ids `node-1`, `node-2`, … Or use `nodes`.
   */
  readonly endpoints?: readonly string[];
  /** `static`: the nodes. */
  readonly nodes?: readonly ServiceNode[];
  /** `custom`: the driver. It stays its owner's: the cluster does not close it. */
  readonly discovery?: Discovery;
}

/** Configuration of `DistributedMCPCluster`. All times in milliseconds. */
export interface DistributedMCPConfig extends BalancingConfig, ResilienceConfig {
  /** Names the cluster in messages. */
  readonly clusterName: string;
  readonly discoveryMethod: 'static' | 'etcd' | 'custom';
  readonly discoveryConfig: DiscoveryConfig;
  /** What the cluster's processes share: sessions, data, locks. Default: `{ provider: 'memory' }`. */
  readonly stateManagementConfig?: StateManagementConfig;
  /** The cluster's own credentials for a node. Default: none are presented. */
  readonly credentials?: CredentialsProvider;
  /** For a whole call, attempts on other nodes included; 1 or more. Default: 60,000. */
  readonly requestTimeout?: number;
  /** A connection unused for this long is closed; 1 or more. Default: 60,000. */
  readonly connectionIdleTimeout?: number;
  readonly clock?: Clock;
  /** Random numbers in [0, 1). Default: `Math.random`. */
  readonly random?: Random;
  /** Opens connections to nodes. Default: the official SDK's client over HTTP and WebSocket. */
  readonly connect?: Connect;
}

/** The configuration with every default in place. */
export type ResolvedConfig = ReturnType<typeof resolveConfig>;

const nodeUrl = z.string().refine((url) => /^(https?|wss?):$/.test(URL.parse(url)?.protocol ?? ''), {
  error: ({ input }) => `expected an http, https, ws or wss URL, got '${String(input)}'`,
});
const httpUrl = z.string().refine((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? ''), {
  error: ({ input }) => `expected an http or https URL, got '${String(input)}'`,
});

/** A node as a configuration or a registry holds it. */
export const serviceNodeSchema = z.object({
  id: z.string().min(1, 'expected a non-empty string'),
  url: nodeUrl,
  weight: z.number().positive().exactOptional(),
  region: z.string().exactOptional(),
  version: z.string().exactOptional(),
  metadata: z.record(z.string(), z.string()).exactOptional(),
});

const method = z.enum(['static', 'etcd', 'custom'], {
  error: ({ input }) => `expected static, etcd or custom, got ${JSON.stringify(input)}`,
});
const provider = z.enum(['memory', 'sqlite', 'redis'], {
  error: ({ input }) => `expected memory, sqlite or redis, got ${JSON.stringify(input)}`,
});

const configSchema = z.strictObject({
  clusterName: z.string().min(1, 'expected a non-empty string'),
  discoveryMethod: method,
  discoveryConfig: z.strictObject({
    serviceName: z.string().min(1, 'expected a non-empty string'),
    endpoints: z.array(z.string()).optional(),
    nodes: z.array(serviceNodeSchema).optional(),
    discovery: z
      .custom<Discovery>((value) => typeof (value as Discovery | undefined)?.watch === 'function', 'expected a Discovery')
      .optional(),
  }),
  ...balancingSchemas,
  ...resilienceSchemas,
  stateManagementConfig: z
    .strictObject({
      provider: provider.exactOptional(),
      endpoints: z.array(z.string()).exactOptional(),
      store: z
        .custom<StateStore>((value) => typeof (value as StateStore | undefined)?.get === 'function', 'expected a StateStore')
        .exactOptional(),
      sessionTtl: positive(3_600_000),
    })
    .refine(
      ({ store, provider, endpoints }) => store === undefined || (provider ?? endpoints) === undefined,
      'give either store or provider and endpoints',
    )
    .prefault({}),
  credentials: callable<CredentialsProvider>().optional(),
  requestTimeout: positive(60_000),
  connectionIdleTimeout: positive(60_000),
  clock: z.custom<Clock>((value) => typeof (value as Clock | undefined)?.now === 'function', 'expected a Clock').optional(),
  random: callable<Random>().optional(),
  connect: callable<Connect>().optional(),
});

/**
 * Checks a configuration and fills in the defaults.
 * @throws ConfigurationError naming the option that is wrong.
 */
export function resolveConfig(config: DistributedMCPConfig) {
  const parsed = configSchema.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : (issue?.path ?? []);
    throw new ConfigurationError(
      optionPath(path),
      issue?.code === 'unrecognized_keys' ? 'is not an option' : (issue?.message ?? 'invalid'),
    );
  }
  const { circuitBreakerConfig: circuitBreaker, healthCheckConfig: healthCheck, discoveryConfig, ...rest } = parsed.data;
  return { ...rest, circuitBreaker, healthCheck, discoverySource: discoverySource(rest.discoveryMethod, discoveryConfig) };
}

/** Which driver to use, with what it needs. */
export type DiscoverySource = { readonly serviceName: string } & (
  | { readonly kind: 'static'; readonly nodes: readonly ServiceNode[] }
  | { readonly kind: 'etcd'; readonly endpoints: readonly string[] }
  | { readonly kind: 'custom'; readonly discovery: Discovery }
);

type ParsedDiscovery = z.output<typeof configSchema>['discoveryConfig'];

function discoverySource(
  kind: DistributedMCPConfig['discoveryMethod'],
  { serviceName, endpoints, nodes, discovery }: ParsedDiscovery,
): DiscoverySource {
  const refuse = (option: string, given: unknown, uses: string) => {
    if (given !== undefined)
      throw new ConfigurationError(`discoveryConfig.${option}`, `is not used with discoveryMethod ${kind}; give ${uses}`);
  };
  if (kind === 'custom') {
    refuse('endpoints', endpoints, 'discovery');
    refuse('nodes', nodes, 'discovery');
    if (discovery === undefined) throw new ConfigurationError('discoveryConfig.discovery', 'required with discoveryMethod custom');
    return { kind, serviceName, discovery };
  }
  if (kind === 'etcd') {
    refuse('nodes', nodes, 'endpoints');
    refuse('discovery', discovery, 'endpoints');
    if (!endpoints?.length)
      throw new ConfigurationError('discoveryConfig.endpoints', 'required with discoveryMethod etcd: URLs of etcd members');
    return { kind, serviceName, endpoints: checkUrls(endpoints, httpUrl) };
  }
  refuse('discovery', discovery, 'nodes or endpoints');
  if ((nodes === undefined) === (endpoints === undefined)) {
    throw new ConfigurationError('discoveryConfig', 'with discoveryMethod static, give either nodes or endpoints');
  }
  const list = nodes ?? checkUrls(endpoints ?? [], nodeUrl).map((url, index) => ({ id: `node-${index + 1}`, url }));
  return { kind, serviceName, nodes: list };
}

function checkUrls(urls: readonly string[], schema: typeof nodeUrl): readonly string[] {
  for (const [index, url] of urls.entries()) {
    const { error } = schema.safeParse(url);
    if (error) throw new ConfigurationError(`discoveryConfig.endpoints[${index}]`, error.issues[0]?.message ?? 'expected a URL');
  }
  return urls;
}

function optionPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}
