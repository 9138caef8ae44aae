import {
  type Authenticator,
  ConfigurationError,
  canonicalJson,
  type JsonValue,
  type Principal,
  RpcError,
  type RpcMiddleware,
} from '@mcp-blocks/core';
import {
  type ApiKeyEntry,
  apiKeys,
  clientCertificate,
  clientKeys,
  hashApiKey,
  introspection,
  jwt,
  type TokenVerifier,
} from '@mcp-blocks/secure-mcp-server';
import type { GatewayFile } from './config/schema.js';
import { at } from './configuration-path.js';

type AuthenticationEntry = GatewayFile['authentication'];

/** Marks a principal with what in the configuration let it in. Principals are copied by listeners, the mark with them. */
const GRANT = Symbol('grant');

/** Who may call, by one configuration. */
export interface Callers {
  /** Those who recognise their credentials at once. */
  readonly first: readonly Authenticator[];
  /** Those who must come after tokens. */
  readonly last: readonly Authenticator[];
  /** Verifies the tokens of the OAuth resource server. */
  readonly verifier: TokenVerifier | undefined;
  readonly allowAnonymous: boolean;
  /** What lets callers in. */
  readonly grants: ReadonlySet<string>;
}

/** @throws ConfigurationError naming the option of the file. */
export function callersOf(entry: AuthenticationEntry): Callers {
  const { allowAnonymous = false, oauth } = entry;
  const path = 'authentication';
  const grants = new Set<string>();
  const grant = (what: string, options: unknown): string => {
    const text = canonicalJson([what, options as JsonValue]);
    grants.add(text);
    return text;
  };
  const marked = (authenticator: Authenticator, text: string): Authenticator => ({
    name: authenticator.name,
    async authenticate(request) {
      const principal = await authenticator.authenticate(request);
      return principal && { ...principal, [GRANT]: text };
    },
  });
  const first: Authenticator[] = [];
  const last: Authenticator[] = [];
  if (entry.apiKeys !== undefined) {
    const keys = entry.apiKeys.map(({ id, key, hash = hashApiKey(key as string), expiresAt, ...principal }): ApiKeyEntry => {
      const mark = { [GRANT]: grant('api-key', { id, hash, ...principal }) };
      return { id, hash, principal: { ...principal, ...mark }, ...(expiresAt === undefined ? {} : { expiresAt }) };
    });
    first.push(at(`${path}.apiKeys`, () => apiKeys({ keys }), 'apiKeys.keys'));
  }
  for (const [index, options] of (entry.jwt ?? []).entries()) {
    first.push(
      marked(
        at(`${path}.jwt[${index}]`, () => jwt(options), 'jwt'),
        grant('jwt', options),
      ),
    );
  }
  let verifier: TokenVerifier | undefined;
  if (oauth?.jwt !== undefined) {
    const options = oauth.jwt;
    const own = at(`${path}.oauth.jwt`, () => jwt(options), 'jwt');
    verifier = { ...marked(own, grant('oauth', options)), audiences: own.audiences };
  } else if (oauth?.introspection !== undefined) {
    const options = oauth.introspection;
    const own = at(`${path}.oauth.introspection`, () => introspection(options), 'introspection');
    verifier = { ...marked(own, grant('oauth', options)), audiences: own.audiences };
  }
  if (entry.introspection !== undefined) {
    const options = entry.introspection;
    last.push(
      marked(
        at(`${path}.introspection`, () => introspection(options), 'introspection'),
        grant('introspection', options),
      ),
    );
  }
  if (entry.clientKeys !== undefined) {
    const keys = entry.clientKeys.map(({ id, publicKey, expiresAt, ...principal }) => {
      const mark = { [GRANT]: grant('client-key', { id, publicKey, ...principal }) };
      return { id, publicKey, principal: { ...principal, ...mark }, ...(expiresAt === undefined ? {} : { expiresAt }) };
    });
    last.push(at(`${path}.clientKeys`, () => clientKeys({ keys }), 'clientKeys.keys'));
  }
  if (entry.clientCertificates !== undefined) last.push(marked(clientCertificate(), grant('client-certificate', true)));
  if (first.length + last.length === 0 && verifier === undefined && !allowAnonymous) {
    throw new ConfigurationError(
      path,
      'expected apiKeys, jwt, oauth, introspection, clientKeys or clientCertificates, or allowAnonymous: true to let everybody in',
    );
  }
  if (allowAnonymous) grants.add('anonymous');
  return { first, last, verifier, allowAnonymous, grants };
}

/** One authenticator that is whatever `current` says. */
export function following(name: string, current: () => readonly Authenticator[]): Authenticator {
  return {
    name,
    async authenticate(request) {
      for (const authenticator of current()) {
        const principal = await authenticator.authenticate(request);
        if (principal !== undefined) return principal;
      }
      return undefined;
    },
  };
}

const CREDENTIAL_HEADERS = ['authorization', 'x-api-key'];

/**
 * The last authenticator of a server that lets anonymous callers in: refuses them while the configuration does
 * not. Callers with credentials that nobody recognised are the server's to refuse.
 */
export function anonymityGuard(current: () => Callers): Authenticator {
  return {
    name: 'anonymous',
    async authenticate(request) {
      if (current().allowAnonymous || CREDENTIAL_HEADERS.some((name) => request.header(name) !== undefined)) return undefined;
      // RFC 6750 section 3.1: without credentials the challenge carries no error code.
      throw new RpcError('unauthenticated', 'Credentials are required, in the Authorization or X-API-Key header', {
        auditReason: 'no credentials',
        headers: { 'www-authenticate': 'Bearer realm="mcp"' },
      });
    },
  };
}

/** Refuses callers on open connections whose key or issuer is not in the configuration any more, or has other rights there. */
export function grantCheck(current: () => Callers): RpcMiddleware {
  return (next) => (request, context) => {
    const { principal } = context;
    const text = (principal as Principal & { readonly [GRANT]?: string })[GRANT] ?? 'anonymous';
    if (current().grants.has(text)) return next(request, context);
    throw new RpcError('unauthenticated', 'The credentials of this connection are not accepted any more', {
      auditReason: 'credentials were removed from the configuration',
      headers: { 'www-authenticate': 'Bearer realm="mcp", error="invalid_token"' },
    });
  };
}
