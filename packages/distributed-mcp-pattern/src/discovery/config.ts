import { type Clock, ConfigurationError, type Discovery, type Random, type ServiceNode, StaticDiscovery } from '@mcp-blocks/core';
import { z } from 'zod';
import { ConsulDiscovery, type ConsulDiscoveryOptions } from './consul-discovery.js';
import { DnsDiscovery, type DnsDiscoveryOptions } from './dns-discovery.js';
import { EtcdDiscovery, type EtcdDiscoveryOptions } from './etcd-discovery.js';
import { KubernetesDiscovery, type KubernetesDiscoveryOptions } from './kubernetes-discovery.js';
import { nodeUrl, serviceNodeSchema } from './service-node-schema.js';

/** Where the nodes of a cluster come from. */
export type DiscoveryMethod = 'static' | 'etcd' | 'consul' | 'kubernetes' | 'dns' | 'custom';

/** What the driver of a {@link DiscoveryMethod} needs. */
export interface DiscoveryConfig {
  /** The service's name in the registry, and in messages. With `dns` the name to look up. */
  readonly serviceName: string;
  /**
   * `etcd`, `consul`: URLs of the registry's members, such as `http://127.0.0.1:2379`, tried in order.
   * `static`: URLs of the nodes themselves, which get the ids `node-1`, `node-2`, … Or use `nodes`.
   */
  readonly endpoints?: readonly string[];
  /** `static`: the nodes. */
  readonly nodes?: readonly ServiceNode[];
  /** `custom`: the driver. It stays its owner's: the cluster does not close it. */
  readonly discovery?: Discovery;
  /** Further options of the driver, of the one in use only. */
  readonly etcd?: Omit<EtcdDiscoveryOptions, 'endpoints' | 'clock' | 'random'>;
  readonly consul?: Omit<ConsulDiscoveryOptions, 'endpoints' | 'clock' | 'random'>;
  readonly kubernetes?: Omit<KubernetesDiscoveryOptions, 'clock' | 'random'>;
  readonly dns?: Omit<DnsDiscoveryOptions, 'clock' | 'random'>;
}

const METHODS = ['static', 'etcd', 'consul', 'kubernetes', 'dns', 'custom'] as const;

/** The drivers check their options themselves. */
const driverOptions = z.record(z.string(), z.unknown(), 'expected an object').optional();

export const discoverySchemas = {
  discoveryMethod: z.enum(METHODS, { error: ({ input }) => `expected one of ${METHODS.join(', ')}, got ${JSON.stringify(input)}` }),
  discoveryConfig: z.strictObject({
    serviceName: z.string().min(1, 'expected a non-empty string'),
    endpoints: z.array(z.string()).optional(),
    nodes: z.array(serviceNodeSchema).optional(),
    discovery: z
      .custom<Discovery>((value) => typeof (value as Discovery | undefined)?.watch === 'function', 'expected a Discovery')
      .optional(),
    etcd: driverOptions,
    consul: driverOptions,
    kubernetes: driverOptions,
    dns: driverOptions,
  }),
};

type ParsedDiscovery = z.output<(typeof discoverySchemas)['discoveryConfig']>;

/** Which options belong to which method; the rest is refused. */
const USED: Readonly<Record<DiscoveryMethod, readonly (keyof ParsedDiscovery)[]>> = {
  static: ['nodes', 'endpoints'],
  etcd: ['endpoints', 'etcd'],
  consul: ['endpoints', 'consul'],
  kubernetes: ['kubernetes'],
  dns: ['dns'],
  custom: ['discovery'],
};

/**
 * The driver a configuration names.
 *
 * @throws ConfigurationError for an option that is missing, wrong, or not the method's.
 */
export function openDiscovery(
  method: DiscoveryMethod,
  config: ParsedDiscovery,
  machine: { readonly clock?: Clock | undefined; readonly random?: Random | undefined },
): Discovery {
  const used = USED[method];
  for (const option of Object.keys(config) as (keyof ParsedDiscovery)[]) {
    if (option === 'serviceName' || config[option] === undefined || used.includes(option)) continue;
    throw new ConfigurationError(`discoveryConfig.${option}`, `is not used with discoveryMethod ${method}; give ${used.join(' or ')}`);
  }
  const { endpoints, discovery, serviceName } = config;
  if (method === 'custom') {
    if (discovery === undefined) throw new ConfigurationError('discoveryConfig.discovery', 'required with discoveryMethod custom');
    return discovery;
  }
  if (method === 'static') return new StaticDiscovery({ [serviceName]: staticNodes(config) });
  const { clock, random } = machine;
  const given = { ...(clock === undefined ? {} : { clock }), ...(random === undefined ? {} : { random }) };
  if (method === 'kubernetes') return named('kubernetes', () => new KubernetesDiscovery({ ...config.kubernetes, ...given }));
  if (method === 'dns') return named('dns', () => new DnsDiscovery({ ...config.dns, ...given }));
  if (!endpoints?.length) {
    throw new ConfigurationError('discoveryConfig.endpoints', `required with discoveryMethod ${method}: URLs of its members`);
  }
  return method === 'etcd'
    ? named('etcd', () => new EtcdDiscovery({ ...config.etcd, ...given, endpoints }))
    : named('consul', () => new ConsulDiscovery({ ...config.consul, ...given, endpoints }));
}

function staticNodes({ nodes, endpoints }: ParsedDiscovery): readonly ServiceNode[] {
  if ((nodes === undefined) === (endpoints === undefined)) {
    throw new ConfigurationError('discoveryConfig', 'with discoveryMethod static, give either nodes or endpoints');
  }
  if (nodes !== undefined) return nodes;
  return (endpoints ?? []).map((url, index) => {
    const { error } = nodeUrl.safeParse(url);
    if (error) throw new ConfigurationError(`discoveryConfig.endpoints[${index}]`, error.issues[0]?.message ?? 'expected a URL');
    return { id: `node-${index + 1}`, url };
  });
}

/** Makes a driver; what it says about an option is said with the option's place in the cluster's configuration. */
function named(driver: 'etcd' | 'consul' | 'kubernetes' | 'dns', make: () => Discovery): Discovery {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    const place = error.option.startsWith('endpoints') && driver !== 'kubernetes' ? '' : `${driver}.`;
    throw new ConfigurationError(`discoveryConfig.${place}${error.option}`, error.message.replace(`${error.option}: `, ''));
  }
}
