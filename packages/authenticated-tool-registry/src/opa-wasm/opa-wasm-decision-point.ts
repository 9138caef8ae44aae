import { ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { type LoadedPolicy, loadPolicy } from '@open-policy-agent/opa-wasm';
import { type DecisionAnswer, type DecisionPoint, type DecisionRequest, policyInput } from '../decision-point.js';
import { answerOf } from '../opa/policy-result.js';

/** Options of {@link OpaWasmDecisionPoint}. */
export interface OpaWasmDecisionPointOptions {
  /** Which of the policy's entrypoints to ask. Default: its first. Its value is as for `OpaDecisionPoint`. */
  readonly entrypoint?: string;
  /** The policy's `data` document. Default: empty. */
  readonly data?: JsonObject;
  /** Makes the policy's `input`. Default: {@link policyInput}. */
  readonly input?: (request: DecisionRequest) => JsonObject;
}

/**
 * Evaluates, in this process, a Rego policy compiled to WebAssembly (`opa build -t wasm -e mcp/authz/allow`).
 * Evaluation blocks the event loop and no deadline ends it, so run policies you trust.
 * Needs the peer `@open-policy-agent/opa-wasm`.
 */
export class OpaWasmDecisionPoint implements DecisionPoint {
  readonly #policy: LoadedPolicy;
  readonly #entrypoint: string | undefined;
  readonly #input: (request: DecisionRequest) => JsonObject;

  private constructor(policy: LoadedPolicy, { entrypoint, input = policyInput }: OpaWasmDecisionPointOptions) {
    this.#policy = policy;
    this.#entrypoint = entrypoint;
    this.#input = input;
  }

  /**
   * @param wasm - the `policy.wasm` of the bundle.
   * @throws ConfigurationError when it is not a compiled policy or has no such entrypoint.
   */
  static async load(wasm: BufferSource | WebAssembly.Module, options: OpaWasmDecisionPointOptions = {}): Promise<OpaWasmDecisionPoint> {
    let policy: LoadedPolicy;
    try {
      policy = await loadPolicy(wasm);
      if (options.data !== undefined) policy.setData(options.data);
    } catch (error) {
      throw new ConfigurationError('wasm', `expected a policy compiled by OPA: ${error instanceof Error ? error.message : String(error)}`);
    }
    const { entrypoint } = options;
    const known = Object.keys(policy.entrypoints as object);
    if (entrypoint !== undefined && !known.includes(entrypoint)) {
      throw new ConfigurationError('entrypoint', `expected one of ${known.join(', ')}, got '${entrypoint}'`);
    }
    return new OpaWasmDecisionPoint(policy, options);
  }

  /** Replaces the policy's `data` document. */
  setData(data: JsonObject): void {
    this.#policy.setData(data);
  }

  async decide(request: DecisionRequest): Promise<DecisionAnswer> {
    const results: unknown = this.#policy.evaluate(this.#input(request), this.#entrypoint);
    if (!Array.isArray(results)) throw new Error('the policy answered no result set');
    return answerOf((results[0] as { result?: unknown } | undefined)?.result);
  }
}
