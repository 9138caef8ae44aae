import { z } from 'zod';
import { type LoadBalancingStrategy, type RoutingRuleConfig, STRATEGY_NAMES } from './strategy.js';

/** How a cluster chooses nodes. */
export interface BalancingConfig {
  /**
   * `round-robin`; `least-connections`, for its weight; `weighted`, smooth and exact; `sticky`: sessions and
   * callers by consistent hashing with bounded load; `p2c`: the less loaded of two at random; `peak-ewma`:
   * the one of two with the lower latency for its load; or a function that makes a strategy of your own.
   * Default: `round-robin`. All but `sticky` keep a session on one node by rendezvous hashing.
   */
  readonly loadBalancingStrategy?: LoadBalancingStrategy;
  readonly stickyConfig?: {
    /** With `sticky`, no node gets more than this many times its part of the requests in progress; above 1. Default: 1.25. */
    readonly loadFactor?: number;
  };
  /** Keeps requests in the own region while enough of its nodes can take them. Default: regions do not matter. */
  readonly localityConfig?: {
    readonly region: string;
    /** Regions to go to next, in order; all others follow together. */
    readonly failover?: readonly string[];
    /** Share of a region's nodes below which it takes less than all; above 0, at most 1. Default: 0.7. */
    readonly threshold?: number;
  };
  /** Sends some requests to some of the nodes; the first rule that matches decides. Default: none. */
  readonly routingRules?: readonly RoutingRuleConfig[];
}

const names = STRATEGY_NAMES.join(', ');
const strategy = z.custom<LoadBalancingStrategy>((value) => typeof value === 'function' || STRATEGY_NAMES.some((name) => name === value), {
  error: ({ input }) => `expected ${names} or a function that makes a strategy, got ${JSON.stringify(input)}`,
});
const text = z.string('expected a string').min(1, 'expected a non-empty string');
const patterns = z.array(text).min(1, 'expected at least one pattern').exactOptional();

/** One of `routingRules`. */
export const routingRule = z.strictObject({
  methods: patterns,
  tools: patterns,
  nodes: z
    .strictObject({
      version: text.exactOptional(),
      region: text.exactOptional(),
      capability: text.exactOptional(),
      metadata: z.record(z.string(), z.string()).exactOptional(),
    })
    .refine((selector) => Object.keys(selector).length > 0, 'expected version, region, capability or metadata'),
  percentage: z.number('expected a number').min(0, 'expected 0 or more').max(100, 'expected at most 100').exactOptional(),
  strategy: strategy.exactOptional(),
  otherwise: z.enum(['any', 'refuse'], 'expected any or refuse').exactOptional(),
});

/** The schemas of {@link BalancingConfig}, for the configuration's. */
export const balancingSchemas = {
  loadBalancingStrategy: strategy.default('round-robin'),
  stickyConfig: z.strictObject({ loadFactor: z.number('expected a number').gt(1, 'expected more than 1').default(1.25) }).prefault({}),
  localityConfig: z
    .strictObject({
      region: text,
      failover: z.array(text).exactOptional(),
      threshold: z.number('expected a number').gt(0, 'expected above 0').max(1, 'expected at most 1').exactOptional(),
    })
    .refine(({ region, failover = [] }) => new Set([region, ...failover]).size > failover.length, {
      path: ['failover'],
      error: 'expected each region once, without the own one',
    })
    .optional(),
  routingRules: z.array(routingRule).default([]),
};
