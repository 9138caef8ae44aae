import type { Random } from '@mcp-blocks/core';
import { affinityKey, type Balancer, sessionOf } from './balancer.js';
import { BoundedStickyBalancer } from './bounded-sticky.js';
import { LeastConnectionsBalancer } from './least-connections.js';
import { LeastRequestBalancer } from './least-request.js';
import { LocalityBalancer } from './locality.js';
import { PeakEwmaBalancer } from './peak-ewma.js';
import { ReducedShareBalancer } from './reduced-share.js';
import { RoundRobinBalancer } from './round-robin.js';
import { type RoutingRule, RoutingRulesBalancer } from './routing-rules.js';
import { SessionAffinityBalancer } from './session-affinity.js';
import { WeightedBalancer } from './weighted.js';

/** What the strategies are made from. */
interface Ingredients {
  readonly random: Random;
  readonly stickyLoadFactor: number;
}

interface Recipe {
  readonly make: (ingredients: Ingredients) => Balancer;
  /** Whether it follows the nodes' weights. */
  readonly weighted: boolean;
  /** Whether it places sessions and callers itself; the others keep sessions by rendezvous hashing. */
  readonly keyed: boolean;
}

/** The strategies by name. A new one is entered here. */
const STRATEGIES = {
  'round-robin': { make: ({ random }) => new RoundRobinBalancer(random), weighted: false, keyed: false },
  'least-connections': { make: ({ random }) => new LeastConnectionsBalancer(random), weighted: true, keyed: false },
  weighted: { make: ({ random }) => new WeightedBalancer(random), weighted: true, keyed: false },
  sticky: {
    make: ({ random, stickyLoadFactor }) => new BoundedStickyBalancer({ loadFactor: stickyLoadFactor, random }),
    weighted: true,
    keyed: true,
  },
  p2c: { make: ({ random }) => new LeastRequestBalancer(random), weighted: true, keyed: false },
  'peak-ewma': { make: ({ random }) => new PeakEwmaBalancer(random), weighted: true, keyed: false },
} as const satisfies Record<string, Recipe>;

/** A strategy of this package. */
export type StrategyName = keyof typeof STRATEGIES;

export const STRATEGY_NAMES = Object.keys(STRATEGIES) as [StrategyName, ...StrategyName[]];

/** A strategy by name, or a function that makes one: called once for each set of nodes that is balanced on its own. */
export type LoadBalancingStrategy = StrategyName | (() => Balancer);

/** A rule as a configuration holds it. */
export interface RoutingRuleConfig extends Omit<RoutingRule, 'strategy'> {
  readonly strategy?: LoadBalancingStrategy;
}

/** What {@link createBalancer} puts together. */
export interface BalancerConfig extends Ingredients {
  readonly strategy: LoadBalancingStrategy;
  readonly rules: readonly RoutingRuleConfig[];
  readonly locality?:
    | { readonly region: string; readonly failover?: readonly string[] | undefined; readonly threshold?: number | undefined }
    | undefined;
}

/** The whole choice: rules, then regions, then reduced shares, then sessions, then the strategy. */
export function createBalancer({ strategy, rules, locality, ...ingredients }: BalancerConfig): Balancer {
  const { random } = ingredients;
  const whole = (given: LoadBalancingStrategy) => (): Balancer => {
    const recipe: Recipe = typeof given === 'string' ? STRATEGIES[given] : { make: given, weighted: true, keyed: false };
    const keyOf = recipe.keyed ? affinityKey : sessionOf;
    const within = (): Balancer => {
      const made = recipe.make(ingredients);
      const keeping = recipe.keyed ? made : new SessionAffinityBalancer(made);
      return new ReducedShareBalancer({ strategy: keeping, weighted: recipe.weighted, keyOf, random });
    };
    if (locality === undefined) return within();
    const { region, failover, threshold } = locality;
    return new LocalityBalancer({
      region,
      ...(failover === undefined ? {} : { failover }),
      ...(threshold === undefined ? {} : { threshold }),
      strategy: within,
      keyOf,
      random,
    });
  };
  if (rules.length === 0) return whole(strategy)();
  return new RoutingRulesBalancer({
    rules: rules.map(({ strategy: own, ...rule }) => ({ ...rule, ...(own === undefined ? {} : { strategy: whole(own) }) })),
    strategy: whole(strategy),
    random,
  });
}
