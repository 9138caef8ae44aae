import type { JsonObject } from './json.js';

/**
 * Who is calling, after authentication. Every request has exactly one principal; a caller nobody
 * vouched for is {@link anonymous} and gets in only where the configuration says so.
 */
export interface Principal {
  /** Stable and unique within the issuer: the JWT `sub`, the API key's owner, a certificate's subject. */
  readonly id: string;
  /** How the identity was proved: `jwt`, `api-key`, `local`, `anonymous`, or a custom authenticator's name. */
  readonly authentication: string;
  /** Role names. Compared exactly; inheritance is the authorization's business. */
  readonly roles: readonly string[];
  /** OAuth scopes granted to this call. */
  readonly scopes: readonly string[];
  /** The OAuth client, when the token names one. */
  readonly clientId?: string;
  /** Who issued the identity: the JWT `iss`. */
  readonly issuer?: string;
  /** Epoch milliseconds after which the identity is void, on open connections too. */
  readonly expiresAt?: number;
  /** The static public key that the caller's end proved to own inside a Noise channel: base64url, 43 characters. Set by listeners. */
  readonly clientKey?: string;
  /** Further claims a policy may look at. Never contains the credential itself. */
  readonly attributes?: JsonObject;
}

/** The principal of a caller who presented no credentials. */
export const anonymous: Principal = Object.freeze({
  id: 'anonymous',
  authentication: 'anonymous',
  roles: Object.freeze([]),
  scopes: Object.freeze([]),
});

/** A name for the principal that is unique across issuers; the partition key of caches, limits and sessions. */
export function principalKey(principal: Principal): string {
  const known = KEYS.get(principal);
  if (known !== undefined) return known;
  const key = keyOf(principal);
  KEYS.set(principal, key);
  return key;
}

/** Principals never change, and callers whose credentials are known keep theirs. */
const KEYS = new WeakMap<Principal, string>();

function keyOf(principal: Principal): string {
  return JSON.stringify([principal.authentication, principal.issuer ?? '', principal.id, principal.clientId ?? '']);
}

/** One subject alternative name of a certificate. */
export interface SubjectAltName {
  /** As OpenSSL calls it: `DNS`, `URI`, `email`, `IP Address`, … */
  readonly type: string;
  readonly value: string;
}

/** A client's certificate, verified by the listener's TLS. */
export interface ClientCertificate {
  /** Attributes of the subject by short name: `CN`, `O`, `OU`, …; a list where one is repeated. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>;
  /** Attributes of the issuer, likewise. */
  readonly issuer: Readonly<Record<string, string | readonly string[]>>;
  readonly subjectAltNames: readonly SubjectAltName[];
  /** SHA-256 of the whole certificate, 64 lower-case hexadecimal digits. */
  readonly fingerprint256: string;
  /** Epoch milliseconds at which it ends to be valid. */
  readonly expiresAt: number;
}

/** What a listener knows about a caller before authentication. */
export interface AuthenticationRequest {
  /** The kind of transport the caller came over. */
  readonly transport: string;
  /** A header by lower-case name. Transports without headers answer `undefined`. */
  header(name: string): string | undefined;
  /** The caller's network address, where the transport has one. */
  readonly remoteAddress?: string;
  /** The certificate the caller proved to own, where the listener asks for one. */
  readonly clientCertificate?: ClientCertificate;
  /** The static public key that the caller's end proved to own inside a Noise channel: base64url, 43 characters. */
  readonly clientKey?: string;
}

/**
 * Turns credentials into a {@link Principal}.
 *
 * `authenticate` resolves with a principal when the credentials are this authenticator's and valid,
 * with `undefined` when the request carries none of its kind (the next one is asked), and throws an
 * `RpcError` with code `unauthenticated` when they are of its kind but not valid.
 */
export interface Authenticator {
  readonly name: string;
  authenticate(request: AuthenticationRequest): Promise<Principal | undefined>;
}
