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
  return JSON.stringify([principal.authentication, principal.issuer ?? '', principal.id, principal.clientId ?? '']);
}

/** What a listener knows about a caller before authentication. */
export interface AuthenticationRequest {
  /** The kind of transport the caller came over. */
  readonly transport: string;
  /** A header by lower-case name. Transports without headers answer `undefined`. */
  header(name: string): string | undefined;
  /** The caller's network address, where the transport has one. */
  readonly remoteAddress?: string;
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
