import { isJsonObject, type JsonObject, type Principal } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';

/** Where in the claims of a token roles and scopes are found. */
export interface ClaimNames {
  /** The claim that holds the roles, a list or words in a string; an array is a path into nested claims. Default: `roles`. */
  readonly rolesClaim?: string | readonly string[];
  /** The claim that holds the OAuth scopes, in the same forms. Default: `scope`. */
  readonly scopesClaim?: string | readonly string[];
}

/** What the claims of a token are held against. */
export interface ClaimRules extends ClaimNames {
  /** `iss` must be this. Absent: not checked, where somebody else vouches for it. */
  readonly issuer?: string;
  /** `aud` must hold one of these. */
  readonly audiences: readonly string[];
  readonly toleranceSeconds: number;
  /** Name of the authenticator, for the principal. */
  readonly authentication: string;
}

/** Clocks differ; this much ahead a token was not made up. */
const MAX_IAT_AHEAD_SECONDS = 60;

/** Checks the claims of RFC 7519 section 4.1 and makes a principal of them. @throws RpcError `unauthenticated` naming the check. */
export function principalOf(claims: JsonObject, rules: ClaimRules, now: number): Principal {
  const { sub, iss, client_id: clientId, azp } = claims;
  const expiresAt = checkTimes(claims, rules.toleranceSeconds, now);
  if (rules.issuer !== undefined && iss !== rules.issuer) throw invalidToken('The token is from another issuer', 'wrong issuer');
  const audiences: readonly unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  if (!rules.audiences.some((audience) => audiences.includes(audience)))
    throw invalidToken('The token is for another audience', 'wrong audience');
  if (typeof sub !== 'string' || sub === '') throw invalidToken('The token has no subject', 'sub missing');
  const client = typeof clientId === 'string' ? clientId : azp;
  return {
    id: sub,
    authentication: rules.authentication,
    roles: words(claimAt(claims, rules.rolesClaim ?? 'roles')),
    scopes: words(claimAt(claims, rules.scopesClaim ?? 'scope')),
    ...(typeof client === 'string' ? { clientId: client } : {}),
    ...(typeof iss === 'string' ? { issuer: iss } : {}),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    attributes: otherClaims(claims),
  };
}

/** The end of the token's life in epoch milliseconds, if it has one. @throws RpcError `unauthenticated` outside of its life. */
export function checkTimes({ exp, nbf, iat }: JsonObject, toleranceSeconds: number, now: number): number | undefined {
  for (const time of [exp, nbf, iat]) {
    if (time !== undefined && !Number.isFinite(time)) throw invalidToken('The token is malformed', 'a time that is no number');
  }
  const nowSeconds = now / 1000;
  if ((nbf as number) > nowSeconds + toleranceSeconds) throw invalidToken('The token is not valid yet', 'not valid yet');
  if ((iat as number) > nowSeconds + Math.max(toleranceSeconds, MAX_IAT_AHEAD_SECONDS))
    throw invalidToken('The token is not valid yet', 'issued in the future');
  if (exp === undefined) return undefined;
  const expiresAt = ((exp as number) + toleranceSeconds) * 1000;
  if (expiresAt <= now) throw invalidToken('The token has expired', 'expired');
  return expiresAt;
}

function claimAt(claims: JsonObject, path: string | readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of typeof path === 'string' ? [path] : path) {
    value = isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return value;
}

function words(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.split(' ').filter((word) => word !== '');
  return Array.isArray(value) ? value.filter((word) => typeof word === 'string') : [];
}

const REGISTERED = new Set(['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'active']);

function otherClaims(claims: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => !REGISTERED.has(name) && name !== '__proto__'));
}
