import { ConfigurationError, type JsonObject, type Principal } from '@mcp-blocks/core';
import { type Conditions, checkedConditions } from './condition.js';
import { type CompiledTimeWindow, compileTimeWindow, type TimeWindow } from './time-window.js';

/** What is known of a request beside who sends it and what it asks for. */
export interface AccessEnvironment {
  /** Epoch milliseconds. */
  readonly time: number;
  /** What carried the request, as `RpcContext.transport`. */
  readonly transport: string;
  readonly remoteAddress?: string;
}

/** Who asks, and from where. */
export interface AccessSubject {
  readonly principal: Principal;
  readonly environment: AccessEnvironment;
}

/** Decides on the caller. Only `true` is yes. */
export type AttributePredicate = (subject: AccessSubject) => boolean;

/** Decides on the arguments, as the handler will get them. Only `true` is yes. */
export type ArgumentPredicate = (args: JsonObject, subject: AccessSubject) => boolean;

/**
 * Who may use an entry. Every member given must hold; `{}` admits every authenticated caller. A list of
 * rules admits whom at least one of them admits, unless a rule with `effect: 'deny'` matches, which wins.
 */
export interface AccessRule {
  /** `'deny'`: whom this rule matches is refused, whatever other rules say. Needs a further member. Default: `'allow'`. */
  readonly effect?: 'allow' | 'deny';
  /** The caller's id is one of these. Not empty. */
  readonly users?: readonly string[];
  /** The caller has at least one of these roles, directly or by inheritance. Not empty. */
  readonly roles?: readonly string[];
  /** The caller's grant holds all of these OAuth scopes. Not empty; each an RFC 6749 scope-token. */
  readonly scopes?: readonly string[];
  /** The wall clock is within this window, or one of these. */
  readonly time?: TimeWindow | readonly TimeWindow[];
  /**
   * The caller is as wanted: a function, or for each attribute of the principal the wanted value or
   * values (an attribute that is a list must hold one of them).
   */
  readonly attributes?: Conditions | AttributePredicate;
  /**
   * The arguments are as wanted: a function, or for each argument the wanted value or values. Looked at
   * only where there are arguments: an entry is listed as if they were harmless.
   */
  readonly arguments?: Conditions | ArgumentPredicate;
  /** Admits callers without credentials too. Not beside users, roles or scopes, which they cannot have. */
  readonly allowAnonymous?: true;
}

/** One rule, or several: whom one of them allows and none denies is admitted. */
export type Access = AccessRule | readonly AccessRule[];

/** A checked rule, frozen. */
export interface CheckedRule extends Omit<AccessRule, 'time'> {
  readonly time?: readonly CompiledTimeWindow[];
}

const MEMBERS = ['effect', 'users', 'roles', 'scopes', 'time', 'attributes', 'arguments', 'allowAnonymous'];

/** RFC 6749, section 3.3. Scopes are quoted in a response header, so nothing else may be in them. */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * Checks rules and returns frozen copies, so that later changes of the caller's object change nothing.
 *
 * @param option - the path to name in the error.
 * @throws ConfigurationError for what is not as {@link AccessRule} says, and for a list that admits nobody.
 */
export function checkedRules(access: Access, option: string): readonly CheckedRule[] {
  const isList = Array.isArray(access);
  const rules = (isList ? (access as readonly AccessRule[]) : [access as AccessRule]).map((rule, index) =>
    checkedRule(rule, isList ? `${option}[${index}]` : option),
  );
  if (!rules.some((rule) => rule.effect !== 'deny')) {
    throw new ConfigurationError(option, "admits nobody: expected at least one rule without effect 'deny'");
  }
  return Object.freeze(rules);
}

function checkedRule(rule: AccessRule, option: string): CheckedRule {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) {
    throw new ConfigurationError(option, `expected an access rule, got ${String(rule)}`);
  }
  for (const member of Object.keys(rule)) {
    // A misspelt member would silently admit more than was meant.
    if (!MEMBERS.includes(member)) throw new ConfigurationError(`${option}.${member}`, `unknown; a rule has ${MEMBERS.join(', ')}`);
  }
  const { effect, allowAnonymous } = rule;
  if (effect !== undefined && effect !== 'allow' && effect !== 'deny') {
    throw new ConfigurationError(`${option}.effect`, `expected 'allow' or 'deny', got ${JSON.stringify(effect)}`);
  }
  if (allowAnonymous !== undefined && allowAnonymous !== true) {
    throw new ConfigurationError(`${option}.allowAnonymous`, `expected true or absent, got ${String(allowAnonymous)}`);
  }
  const users = checkedNames(rule.users, `${option}.users`, (name) => name !== '');
  const roles = checkedNames(rule.roles, `${option}.roles`, (name) => name !== '');
  const scopes = checkedNames(rule.scopes, `${option}.scopes`, (name) => SCOPE_TOKEN.test(name));
  if (allowAnonymous === true && (users ?? roles ?? scopes) !== undefined) {
    throw new ConfigurationError(
      `${option}.allowAnonymous`,
      'cannot stand beside users, roles or scopes, which anonymous callers have not',
    );
  }
  if (effect === 'deny' && (allowAnonymous === true || !MEMBERS.some((member) => member !== 'effect' && hasMember(rule, member)))) {
    throw new ConfigurationError(
      option,
      "a rule with effect 'deny' says whom it refuses, by users, roles, scopes, time, attributes or arguments",
    );
  }
  return Object.freeze({
    ...(effect === undefined ? {} : { effect }),
    ...(users === undefined ? {} : { users }),
    ...(roles === undefined ? {} : { roles }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(rule.time === undefined ? {} : { time: checkedTime(rule.time, `${option}.time`) }),
    ...(rule.attributes === undefined ? {} : { attributes: functionOrConditions(rule.attributes, `${option}.attributes`) }),
    ...(rule.arguments === undefined ? {} : { arguments: functionOrConditions(rule.arguments, `${option}.arguments`) }),
    ...(allowAnonymous === undefined ? {} : { allowAnonymous }),
  });
}

/** A rule for the audit trail. Of functions it tells only that they are there. */
export function describeRule({ time, attributes, arguments: args, ...rest }: CheckedRule): JsonObject {
  const shown = (value: Conditions | AttributePredicate | ArgumentPredicate) => (typeof value === 'function' ? '(function)' : { ...value });
  return {
    ...rest,
    ...(time === undefined ? {} : { time: time.map(({ window }) => window) }),
    ...(attributes === undefined ? {} : { attributes: shown(attributes) }),
    ...(args === undefined ? {} : { arguments: shown(args) }),
  } as JsonObject;
}

function hasMember(rule: AccessRule, member: string): boolean {
  return (rule as Readonly<Record<string, unknown>>)[member] !== undefined;
}

function checkedTime(time: TimeWindow | readonly TimeWindow[], option: string): readonly CompiledTimeWindow[] {
  if (!Array.isArray(time)) return Object.freeze([compileTimeWindow(time as TimeWindow, option)]);
  if (time.length === 0) throw new ConfigurationError(option, 'expected at least one time window; leave it out for always');
  return Object.freeze(time.map((window: TimeWindow, index) => compileTimeWindow(window, `${option}[${index}]`)));
}

function functionOrConditions<F extends (...args: never[]) => boolean>(value: Conditions | F, option: string): Conditions | F {
  return typeof value === 'function' ? value : checkedConditions(value, option);
}

function checkedNames(names: readonly string[] | undefined, option: string, valid: (name: string) => boolean) {
  if (names === undefined) return undefined;
  if (!Array.isArray(names) || names.length === 0) {
    throw new ConfigurationError(option, 'expected at least one name; leave it out to require none');
  }
  for (const [index, name] of names.entries()) {
    if (typeof name !== 'string' || !valid(name)) {
      throw new ConfigurationError(`${option}[${index}]`, `expected a name without spaces or quotes, got ${JSON.stringify(name)}`);
    }
  }
  return Object.freeze([...names]) as readonly string[];
}
