import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type JWK } from 'oidc-provider';

export const REDIRECT_URL = 'http://127.0.0.1:9/callback';

const jwk = (key: KeyObject, alg: string): JWK => ({ ...key.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }) as JWK;

/** A real authorization server. Any user may log in; public clients may register themselves and get rotating refresh tokens. */
export async function startAuthorizationServer(resource: () => string) {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const machine = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
  const provider = new Provider(issuer, {
    clients: [
      { ...machine, client_id: 'robot', client_secret: 'a secret of the robot' },
      {
        ...machine,
        client_id: 'signer',
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [jwk(signing.publicKey, 'ES256')] },
      },
    ],
    cookies: { keys: ['for tests only'] },
    jwks: {
      keys: [
        jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256'),
        jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'ES256'),
      ],
    },
    scopes: ['openid', 'mcp', 'admin'],
    ttl: { AccessToken: 600, ClientCredentials: 600, Grant: 600, IdToken: 600, Interaction: 600, RefreshToken: 600, Session: 600 },
    pkce: { required: () => true },
    issueRefreshToken: (_context, client) => Promise.resolve(client.grantTypeAllowed('refresh_token')),
    rotateRefreshToken: true,
    features: {
      registration: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, indicator) => {
          if (indicator !== resource()) throw new Error(`unknown resource ${indicator}`);
          return { scope: 'mcp admin', audience: indicator, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
        },
      },
    },
  });
  /** The grants given and refused, in order. */
  const granted: string[] = [];
  const refused: string[] = [];
  provider.on('grant.success', (context) => granted.push(String(context.oidc.params?.grant_type)));
  provider.on('grant.error', (context, error) => refused.push(`${context.oidc.params?.grant_type}: ${error.message}`));
  server.on('request', provider.callback());
  return {
    issuer,
    granted,
    refused,
    /** PKCS #8 of the client `signer`. */
    signingKey: signing.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What a person does in a browser: follows redirects, logs in, consents. Resolves with where they come back to. */
export async function consent(authorizationUrl: URL): Promise<URL> {
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
      if (url.href.startsWith(REDIRECT_URL)) return url;
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
