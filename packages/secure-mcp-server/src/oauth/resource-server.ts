import {
  type AuthenticationRequest,
  type Authenticator,
  ConfigurationError,
  type JsonObject,
  type Principal,
  RpcError,
  type RpcMiddleware,
} from '@mcp-blocks/core';
import { safeUrl } from '../authenticators/json-endpoint.js';
import type { TokenVerifier } from '../authenticators/token-verifier.js';
import { type ChallengeParameters, withChallenge } from './challenge.js';

/** Options of {@link oauthResourceServer}. */
export interface OAuthResourceServerOptions {
  /** The URL clients use to reach the MCP endpoint: the resource they ask tokens for (RFC 8707). */
  readonly resource: string;
  /** Issuers of the authorization servers that give tokens for it. At least one. */
  readonly authorizationServers: readonly string[];
  /** Verifies the tokens: `jwt()`, `introspection()` or your own. `resource` must be among its audiences. */
  readonly verifier: TokenVerifier;
  /** Scopes without which nothing can be called; a token that lacks one is answered 403. Default: none. */
  readonly requiredScopes?: readonly string[];
  /** Scopes a client may ask for, for its information. Default: not told. */
  readonly scopesSupported?: readonly string[];
  /** The name that users are shown. Default: none. */
  readonly resourceName?: string;
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/**
 * Makes the server an OAuth 2.1 resource server (MCP 2026-07-28, basic/authorization): serves the metadata
 * of RFC 9728, so that clients find the authorization server, tells them in `WWW-Authenticate` where it is
 * and which scopes are missing, and authenticates them with the verifier.
 *
 * @throws ConfigurationError for URLs that are not `https:` (`http:` on a loopback address only), or a
 * verifier that would accept tokens meant for somebody else.
 */
export function oauthResourceServer(options: OAuthResourceServerOptions): OAuthResourceServer {
  return new OAuthResourceServer(options);
}

/** The authenticator made by {@link oauthResourceServer}. At most one can be used per server. */
export class OAuthResourceServer implements Authenticator {
  readonly name = 'oauth';
  /** Where the metadata is. */
  readonly metadataUrl: string;
  readonly #verifier: TokenVerifier;
  readonly #challenge: ChallengeParameters;
  readonly #documents: ReadonlyMap<string, JsonObject>;

  constructor(options: OAuthResourceServerOptions) {
    const { resource, authorizationServers, verifier, resourceName } = options;
    const { origin, pathname, search, hash } = new URL(safeUrl('oauthResourceServer.resource', resource));
    if (search !== '' || hash !== '')
      throw new ConfigurationError('oauthResourceServer.resource', 'expected a URL without query and fragment');
    if (!Array.isArray(authorizationServers) || authorizationServers.length === 0) {
      throw new ConfigurationError('oauthResourceServer.authorizationServers', 'expected at least one issuer');
    }
    for (const [index, issuer] of authorizationServers.entries()) safeUrl(`oauthResourceServer.authorizationServers[${index}]`, issuer);
    if (!verifier.audiences.includes(resource)) {
      throw new ConfigurationError(
        'oauthResourceServer.verifier',
        `expected '${resource}' among its audiences, got ${verifier.audiences.join(', ')}`,
      );
    }
    const requiredScopes = scopesOption('oauthResourceServer.requiredScopes', options.requiredScopes) ?? [];
    const scopesSupported = scopesOption('oauthResourceServer.scopesSupported', options.scopesSupported);
    const suffix = pathname === '/' ? '' : pathname;
    const metadata: JsonObject = {
      resource,
      authorization_servers: [...authorizationServers],
      bearer_methods_supported: ['header'],
      ...(scopesSupported === undefined ? {} : { scopes_supported: [...scopesSupported] }),
      ...(resourceName === undefined ? {} : { resource_name: resourceName }),
    };
    this.metadataUrl = `${origin}${WELL_KNOWN}${suffix}`;
    this.#verifier = verifier;
    this.#challenge = { metadataUrl: this.metadataUrl, requiredScopes };
    this.#documents = new Map([WELL_KNOWN, `${WELL_KNOWN}${suffix}`].map((path) => [path, metadata]));
  }

  async authenticate(request: AuthenticationRequest): Promise<Principal | undefined> {
    const principal = await this.#verifier.authenticate(request);
    const missing = this.#challenge.requiredScopes.filter((scope) => principal?.scopes.includes(scope) === false);
    if (missing.length === 0) return principal;
    throw new RpcError('insufficient_scope', `Needs the scopes: ${this.#challenge.requiredScopes.join(' ')}`, {
      data: { requiredScopes: [...this.#challenge.requiredScopes] },
      auditReason: `scopes missing: ${missing.join(' ')}`,
      headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' },
    });
  }

  /** The document at a path of this server that anyone may read, if there is one. */
  document(path: string): JsonObject | undefined {
    return this.#documents.get(path);
  }

  /** The error with its challenge completed, see {@link withChallenge}. */
  challenge(error: unknown): unknown {
    return withChallenge(error, this.#challenge);
  }

  /** Completes the challenges of what handlers throw. */
  readonly middleware: RpcMiddleware = (next) => async (request, context) => {
    try {
      return await next(request, context);
    } catch (error) {
      throw this.challenge(error);
    }
  };
}

/** @throws ConfigurationError for what is no scope token (RFC 6749 section 3.3). */
function scopesOption(option: string, scopes: readonly string[] | undefined): readonly string[] | undefined {
  for (const [index, scope] of (scopes ?? []).entries()) {
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) {
      throw new ConfigurationError(`${option}[${index}]`, `expected a scope without spaces, quotes and backslashes, got '${scope}'`);
    }
  }
  return scopes;
}
