import type { JsonObject } from '@mcp-blocks/core';
import { type Access, type AccessSubject, type CheckedRule, checkedRules, describeRule } from './access-rule.js';
import { conditionsHold } from './condition.js';
import { RoleHierarchy } from './role-hierarchy.js';

/** What is decided on. */
export interface AccessRequest extends AccessSubject {
  /** As the handler will get them. Absent: not known, as when entries are listed. */
  readonly arguments?: JsonObject;
}

/** The answer of {@link AccessPolicy.decide}. */
export type Decision = { readonly allowed: true } | Denial;

/** Why not. */
export interface Denial {
  readonly allowed: false;
  /** For the audit trail. Names what the rules want, so callers must not see it. */
  readonly reason: string;
  /**
   * Set when scopes are all that an authenticated caller lacks: the one denial a caller is told about, so
   * that an OAuth client can ask for more (step-up). With several such rules, of the first.
   */
  readonly scopes?: { readonly missing: readonly string[]; readonly required: readonly string[] };
}

const ALLOWED: Decision = Object.freeze({ allowed: true });
const NO_ROLES = new RoleHierarchy();

/** What a rule wants and the request has not. */
type Unmet = Omit<Denial, 'allowed'>;

/**
 * The rules of one entry. The one decision of the registry: lists are filtered by it, calls, reads, gets,
 * subscriptions and completions are guarded by it.
 */
export class AccessPolicy {
  readonly #allow: readonly CheckedRule[];
  readonly #deny: readonly CheckedRule[];
  /** The rules as JSON, for the audit trail. */
  readonly description: JsonObject | JsonObject[] | 'deny';

  /**
   * @param access - `'deny'` admits nobody.
   * @param option - the path to name in errors.
   * @throws ConfigurationError for a rule that is not as `AccessRule` says.
   */
  constructor(access: Access | 'deny', option = 'access') {
    const rules = access === 'deny' ? [] : checkedRules(access, option);
    this.#allow = rules.filter((rule) => rule.effect !== 'deny');
    this.#deny = rules.filter((rule) => rule.effect === 'deny');
    const [first] = rules;
    this.description = first === undefined ? 'deny' : Array.isArray(access) ? rules.map(describeRule) : describeRule(first);
  }

  /** Whether nobody is ever refused. */
  get isPublic(): boolean {
    return this.#deny.length === 0 && this.#allow.some((rule) => rule.allowAnonymous === true && !hasConditions(rule));
  }

  /** Whether anything depends on the arguments. */
  get readsArguments(): boolean {
    return [...this.#allow, ...this.#deny].some((rule) => rule.arguments !== undefined);
  }

  /**
   * Decides. Pure but for the functions in the rules. A function that throws, or answers anything but
   * true or false, refuses: its allowing rule does not match, its denying rule does.
   */
  decide(request: AccessRequest, roles: RoleHierarchy = NO_ROLES): Decision {
    for (const rule of this.#deny) {
      if (unmet(rule, request, roles) === undefined) return { allowed: false, reason: `refused by the rule ${brief(rule)}` };
    }
    const unmets: Unmet[] = [];
    for (const rule of this.#allow) {
      const lacking = unmet(rule, request, roles);
      if (lacking === undefined) return ALLOWED;
      unmets.push(lacking);
    }
    const scopes = unmets.find((lacking) => lacking.scopes !== undefined)?.scopes;
    const reason = unmets.map((lacking) => lacking.reason).join('; ') || 'no access rule, and the default is to deny';
    return { allowed: false, reason, ...(scopes === undefined ? {} : { scopes }) };
  }
}

/** The policy of an entry with rules of its own. `null` is a mistake, not the default rule. */
export function ownPolicy(access: Access | undefined, option: string): AccessPolicy | undefined {
  return access === undefined ? undefined : new AccessPolicy(access, option);
}

/** What the request lacks for the rule to match, scopes last; `undefined` when it matches. */
function unmet(rule: CheckedRule, request: AccessRequest, roles: RoleHierarchy): Unmet | undefined {
  const { principal, environment } = request;
  const denies = rule.effect === 'deny';
  if (!denies && rule.allowAnonymous !== true && principal.authentication === 'anonymous') return { reason: 'not authenticated' };
  if (rule.users !== undefined && !rule.users.includes(principal.id)) return { reason: 'is none of the users' };
  const wanted = rule.roles;
  if (wanted !== undefined && !principal.roles.some((held) => wanted.some((role) => roles.grants(held, role)))) {
    return { reason: `has none of the roles: ${wanted.join(', ')}` };
  }
  if (rule.time !== undefined && !rule.time.some((window) => window.isOpen(environment.time))) return { reason: 'outside of the hours' };
  const { attributes } = rule;
  if (attributes !== undefined) {
    const wrong =
      typeof attributes === 'function'
        ? unsatisfied(() => attributes({ principal, environment }), denies)
        : !conditionsHold(attributes, principal.attributes, true) && 'wrong';
    if (wrong !== false) return { reason: `the attributes are not as wanted (${wrong})` };
  }
  const lacking = unmetArguments(rule, request, denies);
  if (lacking !== undefined) return lacking;
  const missing = rule.scopes?.filter((scope) => !principal.scopes.includes(scope)) ?? [];
  if (missing.length === 0) return undefined;
  return { reason: `lacks the scopes: ${missing.join(', ')}`, scopes: { missing, required: rule.scopes ?? [] } };
}

function unmetArguments(rule: CheckedRule, request: AccessRequest, denies: boolean): Unmet | undefined {
  const { principal, environment, arguments: args } = request;
  const { arguments: wanted } = rule;
  if (wanted === undefined) return undefined;
  // Unknown arguments could be those that suit the caller.
  if (args === undefined) return denies ? { reason: 'the arguments are not known' } : undefined;
  const wrong =
    typeof wanted === 'function'
      ? unsatisfied(() => wanted(args, { principal, environment }), denies)
      : !conditionsHold(wanted, args, false) && 'wrong';
  return wrong === false ? undefined : { reason: `the arguments are not as wanted (${wrong})` };
}

/** False when the predicate says yes, else what it said. A failing one says what refuses. */
function unsatisfied(predicate: () => unknown, denies: boolean): string | false {
  try {
    const answer = predicate();
    // A promise is neither true nor false; its failure must not end the process.
    if (answer instanceof Promise) answer.catch(() => {});
    if (answer === true || (denies && answer !== false)) return false;
    return answer === false ? 'wrong' : 'the function answered neither true nor false';
  } catch (error) {
    return denies ? false : `the function threw: ${String(error)}`;
  }
}

function hasConditions({ time, attributes, arguments: args }: CheckedRule): boolean {
  return (time ?? attributes ?? args) !== undefined;
}

function brief(rule: CheckedRule): string {
  return JSON.stringify(describeRule(rule));
}
