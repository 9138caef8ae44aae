import { type Authenticator, ConfigurationError, RpcError } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import {
  apiKeys,
  generateApiKey,
  hashApiKey,
  jwt,
  type OAuthResourceServerOptions,
  oauthResourceServer,
  SecureMCPServer,
  stdio,
} from '../src/index.js';
import { AUDIENCE, callTool, ISSUER, SECRET, startHttp, testJwt, testService, token } from './support/server.js';

const RESOURCE = 'https://mcp.test/mcp';
const verifier = (audience: string | readonly string[] = RESOURCE) => jwt({ key: SECRET, algorithms: ['HS256'], issuer: ISSUER, audience });
const resourceServer = (options: Partial<OAuthResourceServerOptions> = {}) =>
  oauthResourceServer({ resource: RESOURCE, authorizationServers: [ISSUER], verifier: verifier(), ...options });
const METADATA_URL = 'https://mcp.test/.well-known/oauth-protected-resource/mcp';

const start = (options: Partial<OAuthResourceServerOptions> = {}, others: readonly Authenticator[] = []) =>
  startHttp({ service: testService().service, authenticators: [...others, resourceServer(options)] });
const bearer = (claims: Record<string, string>) => ({ authorization: `Bearer ${token({ aud: RESOURCE, ...claims })}` });

describe('the metadata', () => {
  const expected = {
    resource: RESOURCE,
    authorization_servers: [ISSUER],
    bearer_methods_supported: ['header'],
    scopes_supported: ['mcp', 'admin'],
    resource_name: 'Orders',
  };

  it.each(['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp'])(
    'is for anyone to read at %s',
    async (path) => {
      const { url } = await start({ scopesSupported: ['mcp', 'admin'], resourceName: 'Orders' });
      const response = await fetch(new URL(path, url), { headers: { origin: 'https://browser-client.test' } });
      expect(response.status).toBe(200);
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(await response.json()).toEqual(expected);
      const preflight = await fetch(new URL(path, url), { method: 'OPTIONS', headers: { origin: 'https://browser-client.test' } });
      expect(preflight.status).toBe(204);
      expect(preflight.headers.get('access-control-allow-headers')).toBe('MCP-Protocol-Version');
      expect((await fetch(new URL(path, url), { method: 'HEAD' })).status).toBe(200);
      expect((await fetch(new URL(path, url), { method: 'POST' })).status).toBe(405);
    },
  );

  it('is at the root for a resource without path', () => {
    const resource = 'https://mcp.test/';
    const server = resourceServer({ resource, verifier: verifier(resource) });
    expect(server.metadataUrl).toBe('https://mcp.test/.well-known/oauth-protected-resource');
    expect(server.document('/.well-known/oauth-protected-resource')).toMatchObject({ resource });
  });

  it('is not there without a resource server', async () => {
    const { url } = await startHttp({ service: testService().service });
    expect((await fetch(new URL('/.well-known/oauth-protected-resource', url))).status).toBe(404);
  });
});

describe('the challenge', () => {
  it('without credentials says where to get a token, and for which scopes', async () => {
    const { url } = await start({ requiredScopes: ['mcp'] });
    const { authorization: _token, ...headers } = callTool('whoami').headers;
    const response = await fetch(url, { ...callTool('whoami'), headers });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe(`Bearer realm="mcp", scope="mcp", resource_metadata="${METADATA_URL}"`);
  });

  it('to a bad token says so too', async () => {
    const { url } = await start();
    const response = await fetch(url, callTool('whoami', {}, bearer({ aud: AUDIENCE })));
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer realm="mcp", error="invalid_token", error_description="The token is for another audience", resource_metadata="${METADATA_URL}"`,
    );
  });

  it('to a token without the scopes that everything needs names them all', async () => {
    const { url, audit } = await start({ requiredScopes: ['mcp', 'openid'] });
    const response = await fetch(url, callTool('whoami', {}, bearer({ scope: 'openid' })));
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer error="insufficient_scope", scope="mcp openid", resource_metadata="${METADATA_URL}"`,
    );
    expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', reason: 'scopes missing: mcp' });
    expect((await fetch(url, callTool('whoami', {}, bearer({ scope: 'openid mcp' })))).status).toBe(200);
  });

  it('of a handler is completed, with the scopes that everything needs', async () => {
    const { url } = await start({ requiredScopes: ['mcp'] });
    const response = await fetch(url, callTool('scope', {}, bearer({ scope: 'mcp' })));
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer error="insufficient_scope", scope="mcp admin", resource_metadata="${METADATA_URL}"`,
    );
  });

  it.each([
    ['of another scheme', 'DPoP algs="ES256"'],
    ['that is complete', 'Bearer resource_metadata="https://other.test/"'],
  ])('%s is left as it is', (_name, challenge) => {
    const error = new RpcError('unauthenticated', 'No', { headers: { 'www-authenticate': challenge } });
    expect(resourceServer().challenge(error)).toBe(error);
  });

  it('keeps everything else of the error, and other errors altogether', () => {
    const error = new RpcError('insufficient_scope', 'No', { data: { a: 1 }, auditReason: 'why', headers: { 'x-a': 'b' } });
    expect(resourceServer().challenge(error)).toMatchObject({
      code: 'insufficient_scope',
      message: 'No',
      data: { a: 1 },
      auditReason: 'why',
      headers: { 'x-a': 'b', 'www-authenticate': `Bearer resource_metadata="${METADATA_URL}"` },
    });
    const other = new RpcError('forbidden', 'No');
    expect(resourceServer().challenge(other)).toBe(other);
  });
});

it('other credentials are accepted beside it', async () => {
  const key = generateApiKey();
  const { url } = await start({}, [apiKeys({ keys: [{ id: 'billing', hash: hashApiKey(key) }] })]);
  expect((await fetch(url, callTool('whoami', {}, bearer({})))).status).toBe(200);
  expect((await fetch(url, callTool('whoami', {}, { authorization: '', 'x-api-key': key }))).status).toBe(200);
});

it.each<[string, Partial<OAuthResourceServerOptions>, string]>([
  ['a verifier for another audience', { verifier: verifier('https://other.test') }, 'oauthResourceServer.verifier'],
  ['a resource in the clear', { resource: 'http://mcp.test/mcp' }, 'oauthResourceServer.resource'],
  ['a resource with a fragment', { resource: `${RESOURCE}#a` }, 'oauthResourceServer.resource'],
  ['a resource with a query', { resource: `${RESOURCE}?a` }, 'oauthResourceServer.resource'],
  ['no authorization server', { authorizationServers: [] }, 'oauthResourceServer.authorizationServers'],
  ['an authorization server that is no URL', { authorizationServers: ['as'] }, 'oauthResourceServer.authorizationServers[0]'],
  ['a scope that is two', { requiredScopes: ['a b'] }, 'oauthResourceServer.requiredScopes[0]'],
  ['a scope with a quote', { scopesSupported: ['ok', 'a"'] }, 'oauthResourceServer.scopesSupported[1]'],
])('the options refuse %s', (_name, options, option) => {
  expect(() => resourceServer(options)).toThrow(ConfigurationError);
  expect(() => resourceServer(options)).toThrow(expect.objectContaining({ option }));
});

it('a server has one at most', () => {
  const authenticators = [resourceServer(), testJwt(), resourceServer()];
  expect(() => new SecureMCPServer({ service: testService().service, listeners: [stdio()], authenticators })).toThrow(
    expect.objectContaining({ option: 'authenticators' }),
  );
});
