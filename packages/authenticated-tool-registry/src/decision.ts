import type { Principal } from '@mcp-blocks/core';
import type { AccessRule } from './access-rule.js';
import { RoleHierarchy } from './role-hierarchy.js';

/** The answer of {@link decide}. */
export type Decision =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      /** For the audit trail. Names what the rule wants, so callers must not see it. */
      readonly reason: string;
      /**
       * Set when scopes are all that an authenticated caller lacks: the one denial a caller is told
       * about, so that an OAuth client can ask for more (step-up).
       */
      readonly missingScopes?: readonly string[];
    };

const ALLOWED: Decision = Object.freeze({ allowed: true });
const NO_ROLES = new RoleHierarchy();

/**
 * Decides whether a caller may use an entry. The one decision of the registry: lists are filtered by it,
 * calls, reads, gets, subscriptions and completions are guarded by it. Pure: the same arguments always
 * give the same answer.
 */
export function decide(principal: Principal, rule: AccessRule | 'deny', roles: RoleHierarchy = NO_ROLES): Decision {
  if (rule === 'deny') return { allowed: false, reason: 'no access rule, and the default is to deny' };
  if (rule.allowAnonymous === true) return ALLOWED;
  if (principal.authentication === 'anonymous') return { allowed: false, reason: 'not authenticated' };
  const wanted = rule.roles;
  if (wanted !== undefined && !principal.roles.some((held) => wanted.some((role) => roles.grants(held, role)))) {
    return { allowed: false, reason: `has none of the roles: ${wanted.join(', ')}` };
  }
  const missingScopes = rule.scopes?.filter((scope) => !principal.scopes.includes(scope)) ?? [];
  if (missingScopes.length > 0) return { allowed: false, reason: `lacks the scopes: ${missingScopes.join(', ')}`, missingScopes };
  return ALLOWED;
}
