import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { RpcError, type RpcMiddleware } from '@mcp-blocks/core';
import {
  Client,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { introspection, jwt, oauthResourceServer } from '../src/index.js';
import { jsonOf } from './support/clients.js';
import { CLIENT_ID, consent, REDIRECT_URI, SERVER_CLIENT, startProvider } from './support/oidc-provider.js';
import { startHttp, testService } from './support/server.js';

/** The tool `echo` is for those who have the scope `admin`. */
const echoIsForAdmins: RpcMiddleware = (next) => (request, context) => {
  if (request.params.name === 'echo' && !context.principal.scopes.includes('admin')) {
    throw new RpcError('insufficient_scope', 'Needs the scope admin', {
      headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' },
    });
  }
  return next(request, context);
};

/** The metadata names the server's own URL, so its port has to be known before it listens. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function start(format: 'jwt' | 'opaque') {
  const port = await freePort();
  const resource = `http://127.0.0.1:${port}/mcp`;
  const issuer = await startProvider(resource, format);
  const verifier =
    format === 'jwt'
      ? jwt({ jwks: { url: `${issuer}/jwks` }, algorithms: ['ES256'], issuer, audience: resource, typ: 'at+jwt' })
      : introspection({ url: `${issuer}/token/introspection`, ...SERVER_CLIENT, audience: resource, issuer });
  const authenticator = oauthResourceServer({ resource, authorizationServers: [issuer], verifier, requiredScopes: ['mcp'] });
  const started = await startHttp({
    service: testService().service,
    middleware: [echoIsForAdmins],
    authenticators: [authenticator],
    http: { port },
  });
  return { ...started, issuer, resource };
}

/** A client's memory of one authorization server. */
class MemoryOAuth implements OAuthClientProvider {
  readonly redirectUrl = REDIRECT_URI;
  readonly clientMetadata = {
    redirect_uris: [REDIRECT_URI],
    application_type: 'native' as const,
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code'],
    client_name: 'test',
  };
  /** Where the user was sent, in order. */
  readonly redirects: URL[] = [];
  information: StoredOAuthClientInformation | undefined;
  stored: StoredOAuthTokens | undefined;
  #discovered: OAuthDiscoveryState | undefined;
  #verifier = '';

  constructor(information?: StoredOAuthClientInformation) {
    this.information = information;
  }
  clientInformation() {
    return this.information;
  }
  saveClientInformation(information: StoredOAuthClientInformation) {
    this.information = information;
  }
  tokens() {
    return this.stored;
  }
  saveTokens(tokens: StoredOAuthTokens) {
    this.stored = tokens;
  }
  redirectToAuthorization(url: URL) {
    this.redirects.push(url);
  }
  discoveryState() {
    return this.#discovered;
  }
  saveDiscoveryState(state: OAuthDiscoveryState) {
    this.#discovered = state;
  }
  saveCodeVerifier(verifier: string) {
    this.#verifier = verifier;
  }
  codeVerifier() {
    return this.#verifier;
  }
}

/** Connects as a client does that has no token yet; the user consents on the way. */
async function connect(url: URL, oauth: MemoryOAuth) {
  const open = async (transport: StreamableHTTPClientTransport) => {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    onTestFinished(() => client.close());
    await client.connect(transport);
    return client;
  };
  const first = new StreamableHTTPClientTransport(url, { authProvider: oauth });
  await expect(open(first)).rejects.toThrow(UnauthorizedError);
  await first.finishAuth(await consent(oauth.redirects.at(-1) as URL));
  const transport = new StreamableHTTPClientTransport(url, { authProvider: oauth });
  return { client: await open(transport), transport };
}

describe.each(['jwt', 'opaque'] as const)(
  'with an OpenID provider that gives %s tokens, the SDK’s client',
  { timeout: 30_000 },
  (format) => {
    it.each([
      ['registered before', { client_id: CLIENT_ID } as StoredOAuthClientInformation],
      ['registers itself', undefined],
    ])('%s, finds the provider, has the user consent, and calls', async (_name, information) => {
      const { url, issuer, resource } = await start(format);
      const oauth = new MemoryOAuth(information);
      const { client } = await connect(url, oauth);
      const asked = oauth.redirects[0]?.searchParams;
      expect(oauth.redirects[0]?.origin).toBe(issuer);
      expect(asked?.get('resource')).toBe(resource);
      expect(asked?.get('scope')).toBe('mcp');
      expect(asked?.get('code_challenge_method')).toBe('S256');
      expect(oauth.stored?.access_token.split('.')).toHaveLength(format === 'jwt' ? 3 : 1);
      expect(jsonOf(await client.callTool({ name: 'whoami' }))).toMatchObject({ id: 'alice' });
    });

    it('asks for a further scope when a tool needs it, and keeps the ones it has', async () => {
      const { url } = await start(format);
      const oauth = new MemoryOAuth({ client_id: CLIENT_ID });
      const { client, transport } = await connect(url, oauth);
      await expect(client.callTool({ name: 'echo', arguments: { a: 1 } })).rejects.toThrow(UnauthorizedError);
      expect(new Set(oauth.redirects[1]?.searchParams.get('scope')?.split(' '))).toEqual(new Set(['mcp', 'admin']));
      await transport.finishAuth(await consent(oauth.redirects[1] as URL));
      expect(jsonOf(await client.callTool({ name: 'echo', arguments: { a: 1 } }))).toEqual({ a: 1 });
    });
  },
);

it('a token that does not say that it is an access token is refused', { timeout: 30_000 }, async () => {
  const { url } = await start('jwt');
  const oauth = new MemoryOAuth({ client_id: CLIENT_ID });
  await connect(url, oauth);
  // As the header of the provider's ID tokens is.
  const [header = '', claims, signature] = (oauth.stored as StoredOAuthTokens).access_token.split('.');
  const { typ, ...rest } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { typ: string };
  expect(typ).toBe('at+jwt');
  const forged = `${Buffer.from(JSON.stringify(rest)).toString('base64url')}.${claims}.${signature}`;
  const response = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${forged}` } });
  expect(response.status).toBe(401);
  expect(response.headers.get('www-authenticate')).toContain('The token is of another type');
});
