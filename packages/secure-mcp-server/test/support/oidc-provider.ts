import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type JWK } from 'oidc-provider';
import { onTestFinished } from 'vitest';

export const REDIRECT_URI = 'http://127.0.0.1:9/callback';
export const CLIENT_ID = 'mcp-client';
/** How the resource server itself is known, for introspection. */
export const SERVER_CLIENT = { clientId: 'mcp-server', clientSecret: 'a secret of the resource server' };

const privateJwk = (key: KeyObject, alg: string): JWK => ({ ...key.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }) as JWK;

/** A real OpenID provider on a free port, which gives tokens for one resource. Any user may log in. */
export async function startProvider(resource: string, accessTokenFormat: 'jwt' | 'opaque') {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT_ID,
        redirect_uris: [REDIRECT_URI],
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code'],
      },
      {
        client_id: SERVER_CLIENT.clientId,
        client_secret: SERVER_CLIENT.clientSecret,
        redirect_uris: [],
        grant_types: [],
        response_types: [],
      },
    ],
    cookies: { keys: ['for tests only'] },
    jwks: {
      keys: [
        privateJwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256'),
        privateJwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'ES256'),
      ],
    },
    scopes: ['openid', 'mcp', 'admin'],
    ttl: { AccessToken: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    pkce: { required: () => true },
    features: {
      registration: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, indicator) => {
          if (indicator !== resource) throw new Error(`unknown resource ${indicator}`);
          return { scope: 'mcp admin', audience: resource, accessTokenFormat, jwt: { sign: { alg: 'ES256' } } };
        },
      },
    },
  });
  server.on('request', provider.callback());
  return issuer;
}

/** What a person does in a browser: follows redirects, logs in, consents. Resolves with what the client is told at the end. */
export async function consent(authorizationUrl: URL): Promise<URLSearchParams> {
  const cookies = new Map<string, string>();
  let url = authorizationUrl;
  let form: URLSearchParams | undefined;
  for (let step = 0; step < 20; step += 1) {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form === undefined ? {} : { method: 'POST', body: form }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === '') cookies.delete(name);
      else cookies.set(name, value);
    }
    const location = response.headers.get('location');
    const page = await response.text();
    if (location !== null) {
      url = new URL(location, url);
      form = undefined;
      if (url.href.startsWith(REDIRECT_URI)) return url.searchParams;
      continue;
    }
    const action = /<form[^>]* action="([^"]+)"/.exec(page)?.[1];
    if (action === undefined) throw new Error(`${url}: ${response.status} ${page}`);
    url = new URL(action, url);
    form = new URLSearchParams({ login: 'alice', password: 'any' });
    for (const [, name = '', value = ''] of page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)) form.set(name, value);
  }
  throw new Error('The authorization does not come to an end');
}
