import { ConfigurationError, type Random } from '@mcp-blocks/core';
import { affinityKey, type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';
import { fraction } from './hash.js';

/** Which nodes a rule leads to: those that have everything named here. */
export interface NodeSelector {
  /** A pattern for the node's `version`: `*` stands for any characters. */
  readonly version?: string;
  readonly region?: string;
  /** One of the words in the node's `metadata.capabilities`, which are separated by commas. */
  readonly capability?: string;
  /** Values its `metadata` must have. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Sends some requests to some of the nodes. */
export interface RoutingRule {
  /** Patterns of MCP methods, `*` for any characters: `resources/*`. Default: all. */
  readonly methods?: readonly string[];
  /** Patterns of tool names; then the rule is for `tools/call` only. Default: all. */
  readonly tools?: readonly string[];
  readonly nodes: NodeSelector;
  /**
   * A canary: of the matching requests only this percentage, 0 to 100, goes to these nodes, and none of the
   * others does. What belongs together (a session, else a caller) falls on one side for good: a higher
   * percentage only adds to it. Default: 100.
   */
  readonly percentage?: number;
  /** The strategy among these nodes. Default: the cluster's. */
  readonly strategy?: () => Balancer;
  /** When none of these nodes can take the request: `any` other may (default), or it is `refuse`d. */
  readonly otherwise?: 'any' | 'refuse';
}

/** Options of {@link RoutingRulesBalancer}. */
export interface RoutingRulesOptions {
  /** The first that matches decides. */
  readonly rules: readonly RoutingRule[];
  /** Makes the strategy for requests without a rule, and for rules without one. */
  readonly strategy: () => Balancer;
  readonly random?: Random;
}

interface CompiledRule {
  readonly matches: (info: PickInfo) => boolean;
  readonly selects: (node: Candidate) => boolean;
  readonly percentage: number;
  readonly refuse: boolean;
}

/** Chooses the nodes by rules about the request, and among them by the rule's strategy. */
export class RoutingRulesBalancer implements Balancer {
  readonly #options: RoutingRulesOptions;
  readonly #random: Random;
  readonly #rules: readonly CompiledRule[];
  /** One strategy for each set of nodes that was needed so far; it outlives the pickers. */
  readonly #strategies = new Map<string, Balancer>();

  /** @throws ConfigurationError when a percentage is out of range. */
  constructor(options: RoutingRulesOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#rules = options.rules.map(compile);
  }

  picker<Node extends Candidate>(nodes: readonly Node[], all: readonly Node[] = nodes): Picker<Node> {
    const pickers = new Map<string, Picker<Node>>();
    /** The picker over the nodes of one rule (-1: every node), without those of canaries the request is not part of. */
    const pickerOf = (rule: number, passedBy: readonly number[]): Picker<Node> => {
      const name = `${rule}-${passedBy.join()}`;
      let picker = pickers.get(name);
      if (picker === undefined) {
        const belongs = (node: Node) =>
          (rule === -1 || this.#rule(rule).selects(node)) && !passedBy.some((canary) => this.#rule(canary).selects(node));
        picker = this.#strategy(name, rule).picker(nodes.filter(belongs), all.filter(belongs));
        pickers.set(name, picker);
      }
      return picker;
    };
    return {
      pick: (info: PickInfo): PickResult<Node> => {
        const { rule, passedBy } = this.#decide(info);
        const result = pickerOf(rule, passedBy).pick(info);
        if (result.kind === 'complete') return result;
        if (rule !== -1 && this.#rule(rule).refuse)
          return { kind: 'unavailable', reason: 'no node that the routing rule names can take it' };
        const others = rule === -1 ? result : pickerOf(-1, passedBy).pick(info);
        if (others.kind === 'complete') return others;
        // Better a canary than no answer.
        return passedBy.length > 0 ? pickerOf(-1, []).pick(info) : unavailable(nodes);
      },
    };
  }

  #rule(index: number): CompiledRule {
    return this.#rules[index] as CompiledRule;
  }

  #decide(info: PickInfo): { rule: number; passedBy: readonly number[] } {
    const passedBy: number[] = [];
    for (const [index, { matches, percentage }] of this.#rules.entries()) {
      if (!matches(info)) continue;
      if (percentage === 100 || this.#place(info, index) * 100 < percentage) return { rule: index, passedBy };
      passedBy.push(index);
    }
    return { rule: -1, passedBy };
  }

  #place(info: PickInfo, rule: number): number {
    const key = affinityKey(info);
    return key === undefined ? this.#random() : fraction(`rule ${rule}\u0000${key}`);
  }

  #strategy(name: string, rule: number): Balancer {
    let strategy = this.#strategies.get(name);
    if (strategy === undefined) {
      strategy = (this.#options.rules[rule]?.strategy ?? this.#options.strategy)();
      this.#strategies.set(name, strategy);
    }
    return strategy;
  }
}

function compile({ methods, tools, nodes, percentage = 100, otherwise = 'any' }: RoutingRule, index: number): CompiledRule {
  if (!(percentage >= 0 && percentage <= 100)) {
    throw new ConfigurationError(`rules[${index}].percentage`, `expected 0 to 100, got ${percentage}`);
  }
  const isMethod = methods === undefined ? () => true : anyOf(methods);
  const isTool = tools === undefined ? undefined : anyOf(tools);
  const isVersion = nodes.version === undefined ? undefined : anyOf([nodes.version]);
  const { region, capability, metadata = {} } = nodes;
  return {
    matches: ({ method = '', tool }) => isMethod(method) && (isTool === undefined || (tool !== undefined && isTool(tool))),
    selects: (node) =>
      (isVersion === undefined || (node.version !== undefined && isVersion(node.version))) &&
      (region === undefined || node.region === region) &&
      (capability === undefined || capabilitiesOf(node).includes(capability)) &&
      Object.entries(metadata).every(([name, value]) => node.metadata?.[name] === value),
    percentage,
    refuse: otherwise === 'refuse',
  };
}

function capabilitiesOf({ metadata }: Candidate): readonly string[] {
  return (metadata?.capabilities ?? '').split(',').map((word) => word.trim());
}

/** Whether a text is one of the patterns, in which `*` stands for any characters. */
function anyOf(patterns: readonly string[]): (text: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const parts = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`, 's');
  });
  return (text) => expressions.some((expression) => expression.test(text));
}
