import { createPublicKey, createSecretKey, KeyObject } from 'node:crypto';
import {
  type AuthenticationRequest,
  type Authenticator,
  type Clock,
  ConfigurationError,
  isJsonObject,
  type JsonObject,
  type Principal,
  type RpcError,
  systemClock,
} from '@mcp-blocks/core';
import jsonwebtoken from 'jsonwebtoken';
import { invalidToken } from '../authentication.js';
import { integerOption } from '../options.js';
import { bearerToken } from './bearer.js';

/** Signature algorithms of RFC 7518 that `jwt()` verifies. */
export type JwtAlgorithm = (typeof ALGORITHMS)[number];

const ALGORITHMS = ['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'] as const;

/** Options of {@link jwt}. */
export interface JwtOptions {
  /** A shared secret (HS*), or a public key as PEM or `KeyObject` (RS*, PS*, ES*). */
  readonly key: string | Buffer | KeyObject;
  /** Accepted algorithms, each of the family of the key. Whatever else a token's header says is refused. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** Who must have issued the token: `iss`. */
  readonly issuer: string;
  /** This server, as the issuer names it: `aud` must contain it. */
  readonly audience: string;
  /** Seconds by which clocks may differ. From 0 to 300. Default: 0. */
  readonly clockToleranceSeconds?: number;
  /** The claim that holds the roles, a list or words in a string; an array is a path into nested claims. Default: `roles`. */
  readonly rolesClaim?: string | readonly string[];
  /** The claim that holds the OAuth scopes, in the same forms. Default: `scope`. */
  readonly scopesClaim?: string | readonly string[];
  readonly clock?: Clock;
}

/**
 * Authenticates `Authorization: Bearer <JWT>` with a local key (RFC 7519, RFC 6750).
 *
 * Requires `exp`, `iss`, `aud` and `sub`. Other claims become the principal's `attributes`. The refusal
 * tells which check failed and nothing more, in the message and in `WWW-Authenticate`.
 *
 * @throws ConfigurationError when an algorithm does not belong to the key, or the key is too short for it.
 */
export function jwt(options: JwtOptions): Authenticator {
  const key = keyOf(options.key);
  checkAlgorithms(key, options.algorithms);
  for (const name of ['issuer', 'audience'] as const) {
    if (typeof options[name] !== 'string' || options[name] === '')
      throw new ConfigurationError(`jwt.${name}`, 'expected a non-empty string');
  }
  const toleranceSeconds = integerOption('jwt.clockToleranceSeconds', options.clockToleranceSeconds, { fallback: 0, min: 0, max: 300 });
  const { clock = systemClock, rolesClaim = 'roles', scopesClaim = 'scope' } = options;
  return {
    name: 'jwt',
    async authenticate(request: AuthenticationRequest): Promise<Principal | undefined> {
      const token = bearerToken(request);
      if (token === undefined || !isJwtShaped(token)) return undefined;
      let header: unknown;
      let claims: unknown;
      try {
        ({ header, payload: claims } = jsonwebtoken.verify(token, key, {
          algorithms: [...options.algorithms],
          issuer: options.issuer,
          audience: options.audience,
          clockTolerance: toleranceSeconds,
          clockTimestamp: Math.floor(clock.now() / 1000),
          complete: true,
        }));
      } catch (error) {
        throw refusal(error);
      }
      // RFC 7515 section 4.1.11: extensions that must be understood, and are not.
      if (isJsonObject(header) && header.crit !== undefined) throw invalidToken('The token uses extensions that are not supported', 'crit');
      if (!isJsonObject(claims)) throw invalidToken('The token is malformed', 'malformed');
      const { sub, exp, iss, client_id: clientId, azp } = claims;
      if (typeof exp !== 'number') throw invalidToken('The token has no expiry', 'exp missing');
      if (typeof sub !== 'string' || sub === '') throw invalidToken('The token has no subject', 'sub missing');
      const client = typeof clientId === 'string' ? clientId : azp;
      return {
        id: sub,
        authentication: 'jwt',
        roles: words(claimAt(claims, rolesClaim)),
        scopes: words(claimAt(claims, scopesClaim)),
        ...(typeof client === 'string' ? { clientId: client } : {}),
        issuer: iss as string,
        expiresAt: (exp + toleranceSeconds) * 1000,
        attributes: otherClaims(claims),
      };
    },
  };
}

/** True for three dot-separated parts: the compact serialisation of RFC 7515. */
export function isJwtShaped(token: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token);
}

function keyOf(key: JwtOptions['key']): KeyObject {
  try {
    if (key instanceof KeyObject) return key.type === 'private' ? createPublicKey(key) : key;
    if (
      key
        .toString('utf8' as never)
        .trimStart()
        .startsWith('-----BEGIN')
    )
      return createPublicKey(key);
    return createSecretKey(typeof key === 'string' ? Buffer.from(key) : key);
  } catch {
    // The cause could quote the key.
    throw new ConfigurationError('jwt.key', 'expected a shared secret, or a public key as PEM or KeyObject');
  }
}

const CURVES: Readonly<Record<string, JwtAlgorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

function checkAlgorithms(key: KeyObject, algorithms: readonly JwtAlgorithm[]): void {
  if (!Array.isArray(algorithms) || algorithms.length === 0)
    throw new ConfigurationError('jwt.algorithms', 'expected at least one algorithm');
  for (const [index, algorithm] of algorithms.entries()) {
    const option = `jwt.algorithms[${index}]`;
    if (!ALGORITHMS.includes(algorithm))
      throw new ConfigurationError(option, `expected one of ${ALGORITHMS.join(', ')}, got '${algorithm}'`);
    if (!fits(key, algorithm)) throw new ConfigurationError(option, `'${algorithm}' does not belong to the key, ${describe(key)}`);
    // RFC 7518 section 3.2: a key of at least the size of the hash.
    const minBytes = Number(algorithm.slice(2)) / 8;
    if (key.type === 'secret' && (key.symmetricKeySize ?? 0) < minBytes) {
      throw new ConfigurationError('jwt.key', `expected a secret of at least ${minBytes} bytes for ${algorithm}`);
    }
  }
}

function fits(key: KeyObject, algorithm: JwtAlgorithm): boolean {
  if (key.type === 'secret') return algorithm.startsWith('HS');
  if (key.asymmetricKeyType === 'rsa') return algorithm.startsWith('RS') || algorithm.startsWith('PS');
  if (key.asymmetricKeyType === 'rsa-pss') return algorithm.startsWith('PS');
  return key.asymmetricKeyType === 'ec' && CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] === algorithm;
}

function describe(key: KeyObject): string {
  return key.type === 'secret' ? 'a shared secret' : `a public key of type ${key.asymmetricKeyType}`;
}

function refusal(error: unknown): RpcError {
  const { name, message } = error instanceof Error ? error : { name: '', message: '' };
  if (name === 'TokenExpiredError') return invalidToken('The token has expired', 'expired', error);
  if (name === 'NotBeforeError') return invalidToken('The token is not valid yet', 'not valid yet', error);
  if (message.startsWith('jwt audience invalid')) return invalidToken('The token is for another audience', 'wrong audience', error);
  if (message.startsWith('jwt issuer invalid')) return invalidToken('The token is from another issuer', 'wrong issuer', error);
  if (message === 'invalid algorithm')
    return invalidToken('The token is signed with an algorithm that is not accepted', 'algorithm', error);
  if (message === 'invalid signature' || message === 'jwt signature is required') {
    return invalidToken('The signature of the token is not valid', 'signature', error);
  }
  return invalidToken('The token is malformed', 'malformed', error);
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

const REGISTERED = new Set(['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti']);

function otherClaims(claims: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => !REGISTERED.has(name) && name !== '__proto__'));
}
