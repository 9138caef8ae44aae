import { z } from 'zod';
import { part, positive, positiveOrNone } from '../option-schemas.js';

/** How a cluster deals with nodes that fail, are slow or are full. All times in milliseconds. */
export interface ResilienceConfig {
  readonly circuitBreakerConfig?: {
    /** Default: true. */
    readonly enabled?: boolean;
    /** Failures in a row that open a node's circuit; 1 or more. Default: 5. */
    readonly failureThreshold?: number;
    /** How long an open circuit waits before one request probes the node; 1 or more. Default: 60,000. */
    readonly resetTimeout?: number;
  };
  readonly healthCheckConfig?: {
    /** Default: true. */
    readonly enabled?: boolean;
    /** Between two checks of a node; 1 or more. Default: 10,000. */
    readonly interval?: number;
    /** For one check; 1 or more. Default: 2,000. */
    readonly timeout?: number;
    /** Passing checks in a row that bring a node back; 1 or more. Default: 2. */
    readonly healthyThreshold?: number;
    /** Failing checks in a row that take a node out; 1 or more. Default: 3. */
    readonly unhealthyThreshold?: number;
    /**
     * A check that takes longer passes, but as slow: as many in a row as `unhealthyThreshold` make the node
     * degraded, which gives it a tenth of its part of the traffic. 1 or more. Default: none is slow.
     */
    readonly degradedLatency?: number;
  };
  /** Takes nodes out for a while that fail where others do not, by the rules of Envoy's outlier detection. */
  readonly outlierDetectionConfig?: {
    /** Default: true. */
    readonly enabled?: boolean;
    /** Server failures in a row, gateway failures included; 1 or more. Default: 5. */
    readonly consecutive5xx?: number;
    /** Gateway failures in a row: 502, 503, 504, `unavailable`, no answer, no connection; 1 or more. Default: 5. */
    readonly consecutiveGatewayFailures?: number;
    /** How often success rates are compared; 1 or more. Default: 10,000. */
    readonly interval?: number;
    /** A first ejection; the k-th lasts k times as long; 1 or more. Default: 30,000. */
    readonly baseEjectionTime?: number;
    /** Default: 300,000. */
    readonly maxEjectionTime?: number;
    /** Most nodes ejected at a time as a share of all, 0 to 1, but always one. Default: 0.1. */
    readonly maxEjectedShare?: number;
    /** Success rates are compared when as many nodes … Default: 5. */
    readonly successRateMinNodes?: number;
    /** … had as many requests in the interval. Default: 100. */
    readonly successRateMinRequests?: number;
    /** A node below mean − factor · standard deviation is ejected; 0 or more. Default: 1.9. */
    readonly successRateStdevFactor?: number;
  };
  /** When a smaller share of nodes than this is neither unhealthy nor ejected, both are disregarded; 0 to 1. Default: 0.5. */
  readonly panicThreshold?: number;
  /** Nodes that come or come back get their part of the traffic step by step, from their first success on. */
  readonly slowStartConfig?: {
    /** Default: true. */
    readonly enabled?: boolean;
    /** How long it takes to the full part; 1 or more. Default: 10,000. */
    readonly window?: number;
    /** The least share of its part, above 0, at most 1. Default: 0.1. */
    readonly minShare?: number;
    /** The share is t^(1/aggression), t from 0 to 1 over the window; above 0. Default: 1. */
    readonly aggression?: number;
  };
  /** Places for requests on each node. */
  readonly bulkheadConfig?: {
    /** Most requests in progress on one node; 1 or more. Default: 1,024. */
    readonly maxConcurrent?: number;
    /** Most requests that wait for a place on one node when all are full; 0 or more. Default: 1,024. */
    readonly maxQueue?: number;
  };
  readonly retry?: {
    /** Most nodes one call is sent to; 1 or more. 1 means no retry. Default: 3. */
    readonly attempts?: number;
    /** Most retries and hedges in progress per call in progress that is none of them, 0 to 1. Default: 0.2. */
    readonly budget?: number;
    /** As many are allowed in any case; 0 or more. Default: 3. */
    readonly minConcurrent?: number;
    /** Before the k-th retry a random time up to `baseDelay · 2^(k-1)` passes; 1 or more. Default: 25. */
    readonly baseDelay?: number;
    /** … but never more than this; 1 or more. Default: 250. */
    readonly maxDelay?: number;
    /** For one attempt; then it is given up, and repeated elsewhere only if it may be repeated. 1 or more. Default: none. */
    readonly perTryTimeout?: number;
    /**
     * Says that every node gives a call with an idempotency key its effect once (`Idempotency` of
     * `@mcp-blocks/shared-state`, with one store for all of them). Then any call of a tool may be sent to another
     * node, with the key it has or is given. Default: false.
     */
    readonly exactlyOnce?: boolean;
  };
  /** Sends a call that may be repeated to a second node when the first takes long; the first answer counts. Default: off. */
  readonly hedgingConfig?: {
    /** How long the first node has; 1 or more. */
    readonly delay: number;
  };
}

const enabled = z.boolean().default(true);
const above0 = (fallback: number) => z.number('expected a number').gt(0, 'expected above 0').default(fallback);
const countFrom0 = (fallback: number) => z.int('expected a whole number').min(0, 'expected 0 or more').default(fallback);

/** The schemas of {@link ResilienceConfig}, for the configuration's. */
export const resilienceSchemas = {
  circuitBreakerConfig: z.strictObject({ enabled, failureThreshold: positive(5), resetTimeout: positive(60_000) }).prefault({}),
  healthCheckConfig: z
    .strictObject({
      enabled,
      interval: positive(10_000),
      timeout: positive(2_000),
      healthyThreshold: positive(2),
      unhealthyThreshold: positive(3),
      degradedLatency: positiveOrNone,
    })
    .prefault({}),
  outlierDetectionConfig: z
    .strictObject({
      enabled,
      consecutive5xx: positive(5),
      consecutiveGatewayFailures: positive(5),
      interval: positive(10_000),
      baseEjectionTime: positive(30_000),
      maxEjectionTime: positive(300_000),
      maxEjectedShare: part.default(0.1),
      successRateMinNodes: positive(5),
      successRateMinRequests: positive(100),
      successRateStdevFactor: z.number('expected a number').min(0, 'expected 0 or more').default(1.9),
    })
    .prefault({}),
  panicThreshold: part.default(0.5),
  slowStartConfig: z
    .strictObject({
      enabled,
      window: positive(10_000),
      minShare: above0(0.1).refine((share) => share <= 1, 'expected at most 1'),
      aggression: above0(1),
    })
    .prefault({}),
  bulkheadConfig: z.strictObject({ maxConcurrent: positive(1024), maxQueue: countFrom0(1024) }).prefault({}),
  retry: z
    .strictObject({
      attempts: positive(3),
      budget: part.default(0.2),
      minConcurrent: countFrom0(3),
      baseDelay: positive(25),
      maxDelay: positive(250),
      perTryTimeout: positiveOrNone,
      exactlyOnce: z.boolean('expected true or false').default(false),
    })
    .prefault({}),
  hedgingConfig: z.strictObject({ delay: z.int('expected a whole number').min(1, 'expected 1 or more').max(2_147_483_647) }).optional(),
};
