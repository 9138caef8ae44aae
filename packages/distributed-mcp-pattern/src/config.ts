import type { Clock, Random, StateStore } from '@mcp-blocks/core';
import { z } from 'zod';
import { type BalancingConfig, balancingSchemas } from './balancing/config.js';
import type { StateManagementConfig } from './cluster-state.js';
import { type DiscoveryConfig, type DiscoveryMethod, discoverySchemas } from './discovery/config.js';
import { callable, machineOptions, parseOptions, positive } from './option-schemas.js';
import { type ResilienceConfig, resilienceSchemas } from './resilience/config.js';
import type { CredentialsProvider } from './upstream/connection-pool.js';
import type { Connect } from './upstream/upstream.js';

/** Configuration of `DistributedMCPCluster`. All times in milliseconds. */
export interface DistributedMCPConfig extends BalancingConfig, ResilienceConfig {
  /** Names the cluster in messages. */
  readonly clusterName: string;
  readonly discoveryMethod: DiscoveryMethod;
  readonly discoveryConfig: DiscoveryConfig;
  /** What the cluster's processes share: sessions, data, locks. Default: `{ provider: 'memory' }`. */
  readonly stateManagementConfig?: StateManagementConfig;
  /**
   * The sessions of legacy callers at legacy nodes over HTTP. `shared` (default): callers with the same rights share
   * one at each node. `own`: each has one of its own, at one node, kept in the cluster's state for `sessionTtl`; with
   * a shared one it goes on through a restarted gateway and through several.
   */
  readonly upstreamSessions?: 'shared' | 'own';
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

const provider = z.enum(['memory', 'sqlite', 'redis', 'redis-cluster', 'hazelcast'], {
  error: ({ input }) => `expected memory, sqlite, redis, redis-cluster or hazelcast, got ${JSON.stringify(input)}`,
});

const configSchema = z.strictObject({
  clusterName: z.string().min(1, 'expected a non-empty string'),
  ...discoverySchemas,
  ...balancingSchemas,
  ...resilienceSchemas,
  stateManagementConfig: z
    .strictObject({
      provider: provider.exactOptional(),
      endpoints: z.array(z.string()).exactOptional(),
      sentinels: z.array(z.string()).exactOptional(),
      store: z
        .custom<StateStore>((value) => typeof (value as StateStore | undefined)?.get === 'function', 'expected a StateStore')
        .exactOptional(),
      sessionTtl: positive(3_600_000),
    })
    .refine(
      ({ store, provider, endpoints, sentinels }) => store === undefined || (provider ?? endpoints ?? sentinels) === undefined,
      'give either store or provider and endpoints',
    )
    .prefault({}),
  upstreamSessions: z
    .enum(['shared', 'own'], { error: ({ input }) => `expected shared or own, got ${JSON.stringify(input)}` })
    .default('shared'),
  credentials: callable<CredentialsProvider>().optional(),
  requestTimeout: positive(60_000),
  connectionIdleTimeout: positive(60_000),
  ...machineOptions,
  connect: callable<Connect>().optional(),
});

/**
 * Checks a configuration and fills in the defaults.
 * @throws ConfigurationError naming the option that is wrong.
 */
export function resolveConfig(config: DistributedMCPConfig) {
  const { circuitBreakerConfig: circuitBreaker, healthCheckConfig: healthCheck, ...rest } = parseOptions(configSchema, config);
  return { ...rest, circuitBreaker, healthCheck };
}
