import { createHash } from 'node:crypto';
import {
  type AuthenticationRequest,
  type Clock,
  ConfigurationError,
  type JsonObject,
  type Principal,
  RpcError,
  systemClock,
} from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';
import { bearerToken } from '../authenticators/bearer.js';
import { type ClaimNames, principalOf } from '../authenticators/claims.js';
import { checkConfirmation } from '../authenticators/confirmation.js';
import { type EndpointOptions, JsonEndpoint } from '../authenticators/json-endpoint.js';
import { audienceOption, type TokenVerifier } from '../authenticators/token-verifier.js';
import { ExpiringCache } from '../expiring-cache.js';
import { integerOption } from '../options.js';

/** Options of {@link introspection}. */
export interface IntrospectionOptions extends EndpointOptions, ClaimNames {
  /** The name this server has at the authorization server. */
  readonly clientId: string;
  /** Its secret, sent with HTTP Basic. */
  readonly clientSecret: string;
  /** This server, as the authorization server names it: `aud` must contain it, or one of several. */
  readonly audience: string | readonly string[];
  /** `iss`, where the authorization server tells it. Default: not checked. */
  readonly issuer?: string;
  /**
   * Accepts tokens without `sub`, which a client got for itself (client credentials). Their principal is
   * `client:` and the `client_id`, so that no client passes for a user by its name. Default: false.
   */
  readonly acceptClients?: boolean;
  /** Milliseconds an active token is not asked about again, and so how late its revocation may take effect; 0 asks each time. Default: 30 000. */
  readonly cacheMs?: number;
  /** Milliseconds an inactive token is not asked about again. Default: 10 000. */
  readonly negativeCacheMs?: number;
  /** Most answers kept of either kind; the ones used longest ago go first. Default: 10 000. */
  readonly maxEntries?: number;
  /** Seconds by which clocks may differ. From 0 to 300. Default: 0. */
  readonly clockToleranceSeconds?: number;
  readonly clock?: Clock;
}

/** Longest token asked about, in characters. */
const MAX_TOKEN_LENGTH = 8192;

/** Most questions under way; more would let forged tokens turn this server against the authorization server. */
const MAX_PENDING = 100;

const HOUR_MS = 3_600_000;

/**
 * Authenticates `Authorization: Bearer <token>` by asking the authorization server (RFC 7662), for tokens
 * that only it can read. Each token is asked about once at a time, however many requests come with it.
 *
 * The answer must have `active`, `aud` and `sub`, or `client_id` with `acceptClients`; its `exp` and `nbf` are obeyed, `iss` is too when
 * `issuer` is given, and `cnf` as with `jwt()`. While the server is out of reach, nobody gets in: `unavailable`. It asks about every
 * bearer token that reaches it, so put authenticators that recognise their own before it.
 *
 * @throws ConfigurationError for a value out of range.
 */
export function introspection(options: IntrospectionOptions): TokenVerifier {
  const { clientId, clientSecret, acceptClients = false, clock = systemClock } = options;
  for (const name of ['clientId', 'clientSecret'] as const) {
    if (typeof options[name] !== 'string' || options[name] === '')
      throw new ConfigurationError(`introspection.${name}`, 'expected a non-empty string');
  }
  const endpoint = new JsonEndpoint('introspection', options, clock);
  const audiences = audienceOption('introspection.audience', options.audience);
  const number = (name: 'cacheMs' | 'negativeCacheMs', fallback: number) =>
    integerOption(`introspection.${name}`, options[name], { fallback, min: 0, max: HOUR_MS });
  const cacheMs = number('cacheMs', 30_000);
  const negativeCacheMs = number('negativeCacheMs', 10_000);
  const maxEntries = integerOption('introspection.maxEntries', options.maxEntries, { fallback: 10_000, max: 1_000_000 });
  const toleranceSeconds = integerOption('introspection.clockToleranceSeconds', options.clockToleranceSeconds, {
    fallback: 0,
    min: 0,
    max: 300,
  });
  const rules = { ...options, authentication: 'introspection', audiences, toleranceSeconds };
  // Apart, so that a flood of forged tokens does not drive the good ones out.
  const active = new ExpiringCache<JsonObject>(maxEntries, clock);
  const inactive = new ExpiringCache<true>(maxEntries, clock);
  const pending = new Map<string, Promise<JsonObject | undefined>>();
  const authorization = `Basic ${Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')}`;

  const withSubject = (claims: JsonObject): JsonObject =>
    acceptClients && claims.sub === undefined && typeof claims.client_id === 'string' && claims.client_id !== ''
      ? { ...claims, sub: `client:${claims.client_id}` }
      : claims;

  /** The token's claims, or `undefined` when it is not active. */
  const ask = async (token: string, hash: string): Promise<JsonObject | undefined> => {
    let answer: JsonObject;
    try {
      answer = await endpoint.ask({
        method: 'POST',
        headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded', authorization },
        body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      });
      if (typeof answer.active !== 'boolean') throw new Error('introspection: the answer does not say whether the token is active');
    } catch (cause) {
      throw unavailable('introspection out of reach', cause);
    }
    if (answer.active) active.set(hash, answer, cacheMs);
    else inactive.set(hash, true, negativeCacheMs);
    return answer.active ? answer : undefined;
  };

  const claimsOf = (token: string): Promise<JsonObject | undefined> | JsonObject | undefined => {
    const hash = createHash('sha256').update(token).digest('base64');
    const known = active.get(hash);
    if (known !== undefined || inactive.get(hash)) return known;
    const asked = pending.get(hash);
    if (asked !== undefined) return asked;
    if (pending.size >= MAX_PENDING) throw unavailable('too many introspections');
    const answer = ask(token, hash).finally(() => pending.delete(hash));
    pending.set(hash, answer);
    return answer;
  };

  return {
    name: 'introspection',
    audiences,
    async authenticate(request: AuthenticationRequest): Promise<Principal | undefined> {
      const token = bearerToken(request);
      if (token === undefined) return undefined;
      if (token.length > MAX_TOKEN_LENGTH) throw invalidToken('The token is too long', 'too long');
      const claims = await claimsOf(token);
      if (claims === undefined) throw invalidToken('The token is not active', 'inactive');
      checkConfirmation(claims, request);
      return principalOf(withSubject(claims), rules, clock.now());
    },
  };
}

function unavailable(auditReason: string, cause?: unknown): RpcError {
  return new RpcError('unavailable', 'Authentication is not available at the moment', {
    auditReason,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** RFC 6749 section 2.3.1 and appendix B. */
function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}
