import { ConfigurationError } from '@mcp-blocks/core';

/**
 * Who may use an entry. Every member given must hold; `{}` admits every authenticated caller.
 */
export interface AccessRule {
  /** The caller has at least one of these roles, directly or by inheritance. Not empty. */
  readonly roles?: readonly string[];
  /** The caller's grant holds all of these OAuth scopes. Not empty; each an RFC 6749 scope-token. */
  readonly scopes?: readonly string[];
  /** Admits everybody, callers without credentials too. Stands alone: not together with roles or scopes. */
  readonly allowAnonymous?: true;
}

const MEMBERS: ReadonlySet<string> = new Set(['roles', 'scopes', 'allowAnonymous']);

/** RFC 6749, section 3.3. Scopes are quoted in a response header, so nothing else may be in them. */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * Checks a rule and returns a frozen copy, so that later changes of the caller's object change nothing.
 *
 * @param option - the path to name in the error.
 * @throws ConfigurationError for an unknown member, an empty list, an entry that is not a role or scope
 * name, or `allowAnonymous` beside another member.
 */
export function checkedAccessRule(rule: AccessRule, option: string): AccessRule {
  if (typeof rule !== 'object' || rule === null) throw new ConfigurationError(option, `expected an access rule, got ${String(rule)}`);
  for (const member of Object.keys(rule)) {
    // A misspelt member would silently admit more than was meant.
    if (!MEMBERS.has(member)) throw new ConfigurationError(`${option}.${member}`, 'unknown; a rule has roles, scopes, allowAnonymous');
  }
  const { allowAnonymous } = rule;
  if (allowAnonymous !== undefined && allowAnonymous !== true) {
    throw new ConfigurationError(`${option}.allowAnonymous`, `expected true or absent, got ${String(allowAnonymous)}`);
  }
  if (allowAnonymous === true && (rule.roles !== undefined || rule.scopes !== undefined)) {
    throw new ConfigurationError(`${option}.allowAnonymous`, 'admits everybody, so it cannot stand beside roles or scopes');
  }
  const roles = checkedNames(rule.roles, `${option}.roles`, (name) => name !== '');
  const scopes = checkedNames(rule.scopes, `${option}.scopes`, (name) => SCOPE_TOKEN.test(name));
  return Object.freeze({
    ...(roles === undefined ? {} : { roles }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(allowAnonymous === undefined ? {} : { allowAnonymous }),
  });
}

/** The checked rule of an entry, or `undefined` for an entry without one. `null` is a mistake, not the default rule. */
export function ownAccessRule(rule: AccessRule | undefined, option: string): AccessRule | undefined {
  return rule === undefined ? undefined : checkedAccessRule(rule, option);
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
