import { type CedarValueJson, preparsePolicySet, preparseSchema, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import { ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { type DecisionAnswer, type DecisionPoint, type DecisionRequest, policyInput } from '../decision-point.js';
import { cedarValue } from './cedar-value.js';

/** Options of {@link CedarDecisionPoint}. */
export interface CedarDecisionPointOptions {
  /** Policies in Cedar's language. */
  readonly policies: string;
  /** A schema in Cedar's language. Requests that do not fit it are denied. Default: none. */
  readonly schema?: string;
  /** For each role, the roles whose rights it has too, as the registry's `roles`. Default: no inheritance. */
  readonly roles?: Readonly<Record<string, readonly string[]>>;
}

const TYPES = { tool: 'Tool', resource: 'Resource', 'resource template': 'ResourceTemplate', prompt: 'Prompt' } as const;

/**
 * Evaluates Cedar policies in this process. A request is about
 *
 * - `principal`: `User::"id"` in `Role::"…"` for each role, with `authentication`, `scopes` (a set) and,
 *   where known, `clientId`, `issuer`, `attributes` (a record);
 * - `action`: `Action::"call"`, `"read"` or `"get"`;
 * - `resource`: `Tool::"…"`, `Resource::"…"`, `ResourceTemplate::"…"` or `Prompt::"…"`;
 * - `context`: `environment` (`time` in epoch milliseconds, `transport`, `remoteAddress` where known) and,
 *   where known, `arguments`. Members that are null are left out; numbers that are no integers are strings.
 *
 * Cedar skips a policy that fails to evaluate, which for a `forbid` would allow; here any such failure
 * denies. Write `context has arguments && …` where arguments matter. Needs the peer `@cedar-policy/cedar-wasm`.
 */
export class CedarDecisionPoint implements DecisionPoint {
  readonly #policySet = crypto.randomUUID();
  readonly #schema: string | undefined;
  readonly #roles: ReadonlyMap<string, readonly string[]>;

  /** @throws ConfigurationError when the policies or the schema cannot be parsed. */
  constructor({ policies, schema, roles = {} }: CedarDecisionPointOptions) {
    parsed('policies', preparsePolicySet(this.#policySet, { staticPolicies: policies }));
    if (schema !== undefined) parsed('schema', preparseSchema(this.#policySet, schema));
    this.#schema = schema === undefined ? undefined : this.#policySet;
    this.#roles = new Map(Object.entries(roles));
  }

  async decide(request: DecisionRequest): Promise<DecisionAnswer> {
    const { principal, environment, arguments: args } = policyInput(request) as Record<string, JsonObject>;
    const { id, roles, ...attributes } = principal as JsonObject & { id: string; roles: string[] };
    const user = { type: 'User', id };
    const answer = statefulIsAuthorized({
      principal: user,
      action: { type: 'Action', id: request.action },
      resource: { type: TYPES[request.entry.kind], id: request.entry.key },
      context: record({ environment, ...(args === undefined ? {} : { arguments: args }) }),
      entities: [
        { uid: user, attrs: record(attributes), parents: roles.map(role) },
        ...[...new Set([...roles, ...this.#roles.keys()])].map((name) => ({
          uid: role(name),
          attrs: {},
          parents: (this.#roles.get(name) ?? []).map(role),
        })),
      ],
      preparsedPolicySetId: this.#policySet,
      ...(this.#schema === undefined ? {} : { preparsedSchemaName: this.#schema, validateRequest: true }),
    });
    if (answer.type === 'failure') throw new Error(answer.errors.map((error) => error.message).join('; '));
    const { decision, diagnostics } = answer.response;
    const [failed] = diagnostics.errors;
    if (failed !== undefined) throw new Error(`policy ${failed.policyId}: ${failed.error.message}`);
    if (decision === 'allow') return { allow: true };
    return { allow: false, reason: diagnostics.reason.length === 0 ? 'no policy permits it' : `by ${diagnostics.reason.join(', ')}` };
  }
}

function role(id: string) {
  return { type: 'Role', id };
}

function record(value: JsonObject): Record<string, CedarValueJson> {
  return cedarValue(value) as Record<string, CedarValueJson>;
}

function parsed(option: string, answer: ReturnType<typeof preparsePolicySet>): void {
  if (answer.type === 'failure') throw new ConfigurationError(option, answer.errors.map((error) => error.message).join('; '));
}
