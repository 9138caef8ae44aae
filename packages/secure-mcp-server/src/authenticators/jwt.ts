import { hash } from 'node:crypto';
import { type AuthenticationRequest, type Clock, ConfigurationError, type JsonObject, type Principal, systemClock } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';
import { ExpiringCache } from '../expiring-cache.js';
import { integerOption } from '../options.js';
import { bearerToken } from './bearer.js';
import { type ClaimNames, checkTimes, principalOf } from './claims.js';
import { isJwtShaped, readCompactToken } from './compact-token.js';
import { checkConfirmation } from './confirmation.js';
import { type JwksOptions, RemoteKeys } from './jwks.js';
import type { JwtAlgorithm } from './jwt-algorithms.js';
import { checkAlgorithms, type JwtKey, type KeySource, localKeys, type NamedJwtKey, type VerificationKey } from './jwt-keys.js';
import { isSignedBy } from './token-signature.js';
import { audienceOption, type TokenVerifier } from './token-verifier.js';

/** Options of {@link jwt}. Exactly one of `key`, `keys` and `jwks` is given. */
export interface JwtOptions extends ClaimNames {
  /** The one key of the issuer. */
  readonly key?: JwtKey;
  /** The keys of the issuer, which tokens name by `kid`; several are valid side by side while they are rotated. */
  readonly keys?: readonly NamedJwtKey[];
  /** Where the issuer publishes its keys. */
  readonly jwks?: JwksOptions;
  /** Accepted algorithms, each of the family of a key. Whatever else a token's header says is refused. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** Who must have issued the token: `iss`. */
  readonly issuer: string;
  /** This server, as the issuer names it: `aud` must contain it, or one of several. */
  readonly audience: string | readonly string[];
  /** The type that the header must name, such as `at+jwt` (RFC 9068). Default: `JWT`, `at+jwt` or none. */
  readonly typ?: string;
  /** Longest token looked at, in characters. Default: 8 192. */
  readonly maxTokenLength?: number;
  /** Seconds by which clocks may differ. From 0 to 300. Default: 0. */
  readonly clockToleranceSeconds?: number;
  readonly clock?: Clock;
}

/** Types of a header that may stand for an access token where none is demanded (RFC 7519 section 5.1, RFC 9068). */
const ACCESS_TOKEN_TYPES = ['jwt', 'at+jwt'];

/**
 * Authenticates `Authorization: Bearer <JWT>` (RFC 7519, RFC 6750, RFC 8725) with keys from the
 * configuration or from a key set at a URL.
 *
 * Requires `exp`, `iss`, `aud` and `sub`; `iat` may be at most 60 s ahead. Other claims become the
 * principal's `attributes`. Keys that come with the token (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
 * A token bound to a client certificate (`cnf` with `x5t#S256`, RFC 8705) is accepted from its owner only; one
 * bound otherwise, as with DPoP, is refused.
 * A token of another issuer is left to the other authenticators: give one `jwt` for each issuer.
 * The signature of a token is verified once, and the decision kept, for at most 10,000 tokens, until the token is over or
 * its key is no longer the issuer's; times and the client certificate are looked at each time, and nothing is kept of
 * tokens that are refused.
 * The refusal tells which check failed and nothing more, in the message and in `WWW-Authenticate`;
 * `unavailable` is thrown while a key set cannot be had.
 *
 * @throws ConfigurationError when an algorithm does not belong to a key, or a key is too short for it.
 */
export function jwt(options: JwtOptions): TokenVerifier {
  const { clock = systemClock, algorithms, issuer } = options;
  checkAlgorithms(algorithms);
  const keys = keySource(options, clock);
  if (typeof issuer !== 'string' || issuer === '') throw new ConfigurationError('jwt.issuer', 'expected a non-empty string');
  const audiences = audienceOption('jwt.audience', options.audience);
  const maxTokenLength = integerOption('jwt.maxTokenLength', options.maxTokenLength, { fallback: 8192, min: 256, max: 1024 * 1024 });
  const toleranceSeconds = integerOption('jwt.clockToleranceSeconds', options.clockToleranceSeconds, { fallback: 0, min: 0, max: 300 });
  if (options.typ === '') throw new ConfigurationError('jwt.typ', 'expected a non-empty string');
  const rules = { ...options, authentication: 'jwt', audiences, toleranceSeconds };
  const isType = typeCheck(options.typ);
  const accepted = new ExpiringCache<AcceptedToken>(MAX_ACCEPTED_TOKENS, clock);
  return {
    name: 'jwt',
    audiences,
    async authenticate(request: AuthenticationRequest): Promise<Principal | undefined> {
      const token = bearerToken(request);
      if (token === undefined || token.length > maxTokenLength) return refuseLong(token);
      const digest = hash('sha256', token);
      const known = accepted.get(digest);
      // The key may have been taken out of the set since, or another one have its name.
      if (known !== undefined && (await keys.find(known.kid, known.algorithm)) === known.key) {
        checkConfirmation(known.claims, request);
        checkTimes(known.claims, toleranceSeconds, clock.now());
        return known.principal;
      }
      if (!isJwtShaped(token)) return undefined;
      const { header, claimedIssuer, claims } = readCompactToken(token);
      // Another issuer's token is another authenticator's business; what this one lets pass nobody has accepted yet.
      if (typeof claimedIssuer === 'string' && claimedIssuer !== issuer) return undefined;
      const algorithm = algorithms.find((accepted) => accepted === header.alg);
      if (algorithm === undefined) throw invalidToken('The token is signed with an algorithm that is not accepted', 'algorithm');
      // RFC 7515 section 4.1.11: extensions that must be understood, and are not.
      if (header.crit !== undefined) throw invalidToken('The token uses extensions that are not supported', 'crit');
      if (!isType(header.typ)) throw invalidToken('The token is of another type', 'typ');
      const { kid } = header;
      if (kid !== undefined && typeof kid !== 'string') throw invalidToken('The token is malformed', 'kid that is no string');
      const key = await keys.find(kid, algorithm);
      if (key === undefined) throw invalidToken('The token is signed with an unknown key', 'unknown key');
      if (!(await isSignedBy(token, key, algorithm))) throw invalidToken('The signature of the token is not valid', 'signature');
      const verified = claims();
      if (verified.exp === undefined) throw invalidToken('The token has no expiry', 'exp missing');
      checkConfirmation(verified, request);
      const principal = principalOf(verified, rules, clock.now());
      const entry = { kid, algorithm, key, claims: verified, principal };
      accepted.set(digest, entry, (principal.expiresAt ?? 0) - clock.now());
      return principal;
    },
  };
}

/** Tokens that were found valid and are not over, with what has to be looked at each time. */
interface AcceptedToken {
  readonly kid: string | undefined;
  readonly algorithm: JwtAlgorithm;
  readonly key: VerificationKey;
  readonly claims: JsonObject;
  readonly principal: Principal;
}

/** More are verified again when they come again; what was used longest ago goes first. */
const MAX_ACCEPTED_TOKENS = 10_000;

function refuseLong(token: string | undefined): undefined {
  if (token !== undefined && isJwtShaped(token)) throw invalidToken('The token is too long', 'too long');
}

function keySource({ key, keys, jwks, algorithms }: JwtOptions, clock: Clock): KeySource {
  if ([key, keys, jwks].filter((given) => given !== undefined).length !== 1) {
    throw new ConfigurationError('jwt.key', 'expected exactly one of key, keys and jwks');
  }
  if (jwks !== undefined) return new RemoteKeys(jwks, algorithms, clock);
  return localKeys(keys === undefined ? { key: key as JwtKey } : { keys }, algorithms);
}

/** RFC 7515 section 4.1.9: media types, compared without case, `application/` understood. */
function typeCheck(required: string | undefined): (typ: unknown) => boolean {
  const plain = (typ: string) => typ.toLowerCase().replace(/^application\//, '');
  const accepted = required === undefined ? ACCESS_TOKEN_TYPES : [plain(required)];
  return (typ) => (typ === undefined ? required === undefined : typeof typ === 'string' && accepted.includes(plain(typ)));
}
