import { createServer } from 'node:net';
import { type Authenticator, isJsonObject, MemoryStateStore, RpcError, type RpcMiddleware } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, jwt, oauthResourceServer, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AuthorizationRequest, type MCPClientConfig, MCPClientPattern, type OAuthOptions } from '../src/index.js';
import { consent, REDIRECT_URL, startAuthorizationServer } from './authorization-server.js';
import { portOf } from './real-server.js';
import { TestService } from './support.js';

/** The metadata names the server's own URL, so its port has to be known before it listens. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return isJsonObject(address) && typeof address.port === 'number' ? address.port : 0;
}

/** The tool `pay` is for those who have the scope `admin`. */
const paymentsAreForAdmins: RpcMiddleware = (next) => (request, context) => {
  if (request.params.name === 'pay' && !context.principal.scopes.includes('admin')) {
    throw new RpcError('insufficient_scope', 'Needs the scope admin', {
      data: { requiredScopes: ['admin'] },
      headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' },
    });
  }
  return next(request, context);
};

let authorizationServer: Awaited<ReturnType<typeof startAuthorizationServer>>;
let server: SecureMCPServer;
let webSocketPort: number;
let resource: string;
let service: TestService;
/** Tokens that the server no longer takes, and those it has seen. */
const revoked = new Set<string>();
const presented = new Set<string>();
const clients: MCPClientPattern[] = [];

beforeEach(async () => {
  revoked.clear();
  presented.clear();
  const port = await freePort();
  resource = `http://127.0.0.1:${port}/mcp`;
  authorizationServer = await startAuthorizationServer(() => resource);
  const { issuer } = authorizationServer;
  const tokens = jwt({ jwks: { url: `${issuer}/jwks` }, algorithms: ['ES256'], issuer, audience: resource, typ: 'at+jwt' });
  const verifier: Authenticator & { audiences: readonly string[] } = {
    name: tokens.name,
    audiences: tokens.audiences,
    authenticate(request) {
      const token = request.header('authorization')?.replace('Bearer ', '') ?? '';
      presented.add(token);
      if (revoked.has(token)) return Promise.reject(new RpcError('unauthenticated', 'The token has been revoked'));
      return tokens.authenticate(request);
    },
  };
  const webSocket = encryptedWebSocket({ port: 0 });
  service = new TestService();
  server = new SecureMCPServer({
    service,
    middleware: [paymentsAreForAdmins],
    authenticators: [oauthResourceServer({ resource, authorizationServers: [issuer], verifier, requiredScopes: ['mcp'] })],
    listeners: [http({ port }), webSocket],
    onError: () => {},
  });
  await server.start();
  webSocketPort = portOf(webSocket.endpoint);
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await server.stop();
  await authorizationServer.stop();
});

/** Where users were sent, in order. */
let sentTo: URL[];
beforeEach(() => {
  sentTo = [];
});

function user(answer: (request: AuthorizationRequest) => Promise<URL> = ({ url }) => consent(url)): OAuthOptions {
  return {
    grant: 'authorization_code',
    redirectUrl: REDIRECT_URL,
    authorize(request) {
      sentTo.push(request.url);
      return answer(request);
    },
  };
}

function clientOf(oauth: OAuthOptions, config: Partial<MCPClientConfig> = {}): MCPClientPattern {
  const webSocketUrl = `ws://127.0.0.1:${webSocketPort}/ws`;
  const client = new MCPClientPattern({ serverUrl: resource, webSocketUrl, credentials: { oauth }, ...config });
  clients.push(client);
  return client;
}

function revokeAll(): void {
  for (const token of presented) revoked.add(token);
}

const TRANSPORTS = [
  ['a WebSocket', {}],
  ['HTTP', { enableWebSocket: false }],
  ['HTTP in the legacy era', { enableWebSocket: false, versionNegotiation: 'legacy' as const }],
] as const;

describe.each(TRANSPORTS)('over %s', { timeout: 30_000 }, (_name, config) => {
  it('a user consents once, with PKCE, for exactly the resource that the server names', async () => {
    const client = clientOf(user(), config);
    await expect(client.callTool('look', { at: 1 })).resolves.toMatchObject({ content: [{ text: 'look {"at":1} 1' }] });
    await client.listTools();
    expect(sentTo).toHaveLength(1);
    const asked = sentTo[0]?.searchParams;
    expect(asked?.get('resource')).toBe(resource);
    expect(asked?.get('code_challenge_method')).toBe('S256');
    expect(authorizationServer.granted).toEqual(['authorization_code']);
  });

  it('there is no refresh stampede: a refused token is refreshed once for however many requests, without the user', async () => {
    const client = clientOf(user(), { ...config, maxConcurrentRequests: 50 });
    await client.listTools();
    revokeAll();
    // A WebSocket is authenticated once.
    if (client.getConnectionStatus().transport === 'websocket') void client.reconnect();
    const calls = Array.from({ length: 40 }, (_, at) => client.callTool('look', { at }));
    await expect(Promise.all(calls)).resolves.toHaveLength(40);
    expect(authorizationServer.granted).toEqual(['authorization_code', 'refresh_token']);
    expect(authorizationServer.refused).toEqual([]);
    expect(sentTo).toHaveLength(1);
  });

  it('a call that needs a further scope has the user asked for it, with those they gave before, and is sent again', async () => {
    const client = clientOf(user(), config);
    await client.listTools();
    const calls = [client.callTool('pay', { to: 'a' }), client.callTool('pay', { to: 'b' })];
    await expect(Promise.all(calls)).resolves.toHaveLength(2);
    expect(sentTo).toHaveLength(2);
    expect(new Set(sentTo[1]?.searchParams.get('scope')?.split(' '))).toEqual(new Set(['mcp', 'admin']));
    expect(service.received.filter(({ params }) => params.name === 'pay')).toHaveLength(2);
  });

  it('a user who does not give the scope fails the calls that need it and no others', async () => {
    const client = clientOf(
      user(({ url }) => {
        if (sentTo.length === 1) return consent(url);
        const { issuer } = authorizationServer;
        return Promise.resolve(new URL(`${REDIRECT_URL}?error=access_denied&state=${url.searchParams.get('state')}&iss=${issuer}`));
      }),
      config,
    );
    await client.listTools();
    const calls = await Promise.allSettled([client.callTool('pay'), client.callTool('pay'), client.callTool('look')]);
    expect(calls.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
    await expect(client.callTool('look')).resolves.toBeDefined();
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'insufficient_scope' });
    expect(service.count('tools/call')).toBe(2);
  });

  it.each([
    ['client_credentials', () => ({ grant: 'client_credentials', clientId: 'robot', clientSecret: 'a secret of the robot' }) as const],
    [
      'private_key_jwt',
      () => ({ grant: 'private_key_jwt', clientId: 'signer', privateKey: authorizationServer.signingKey, algorithm: 'ES256' }) as const,
    ],
  ])('a machine gets its tokens with %s, and the scopes it needs', async (_grant, oauth) => {
    const client = clientOf(oauth(), config);
    await client.callTool('look');
    await client.callTool('pay');
    revokeAll();
    await client.reconnect();
    await client.callTool('pay');
    expect(authorizationServer.granted).toEqual(['client_credentials', 'client_credentials', 'client_credentials']);
  });
});

describe('a client over HTTP', { timeout: 30_000 }, () => {
  const over = { enableWebSocket: false };

  it('shares a refresh with the others of its storage, also where refresh tokens serve once', async () => {
    const storage = new MemoryStateStore();
    const both = [0, 1].map(() => clientOf({ ...user(), storage }, over));
    await both[0]?.listTools();
    await both[1]?.listTools();
    expect(sentTo).toHaveLength(1);
    revokeAll();
    await Promise.all(both.flatMap((client) => [client.callTool('look'), client.callTool('look')]));
    expect(authorizationServer.granted).toEqual(['authorization_code', 'refresh_token']);
    expect(authorizationServer.refused).toEqual([]);
  });

  it('keeps what it has cached over a refresh', async () => {
    service.ttlMs = 60_000;
    const client = clientOf(user(), over);
    await client.listTools();
    revokeAll();
    await client.callTool('look');
    await client.listTools();
    expect(service.count('tools/list')).toBe(1);
  });

  it.each([
    ['another issuer', (url: URL) => url.searchParams.set('iss', 'https://attacker.example')],
    ['its issuer spelt another way', (url: URL) => url.searchParams.set('iss', `${url.searchParams.get('iss')}/`)],
    ['no issuer', (url: URL) => url.searchParams.delete('iss')],
    ['the state of another request', (url: URL) => url.searchParams.set('state', 'another')],
    ['no code', (url: URL) => url.searchParams.delete('code')],
  ])('redeems no code that comes with %s', async (_name, tamper) => {
    const client = clientOf(
      user(async ({ url }) => {
        const back = await consent(url);
        tamper(back);
        return back;
      }),
      over,
    );
    await expect(client.listTools()).rejects.toMatchObject({ code: 'unauthenticated' });
    expect([...authorizationServer.granted, ...authorizationServer.refused]).toEqual([]);
  });

  it('tells no authorization server anything but the one it was told to use', async () => {
    const client = clientOf({ ...user(), issuer: 'https://auth.example.com' }, over);
    await expect(client.listTools()).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(sentTo).toEqual([]);
  });

  it('waits for the user no longer than it is told, and not at all once it is closed', async () => {
    const signals: AbortSignal[] = [];
    const forever = ({ signal }: AuthorizationRequest) => {
      signals.push(signal);
      return new Promise<URL>(() => {});
    };
    const impatient = clientOf({ ...user(forever), authorizationTimeoutMs: 20 } as OAuthOptions, over);
    await expect(impatient.listTools()).rejects.toMatchObject({ code: 'unauthenticated' });
    const asked = Promise.withResolvers<void>();
    const closed = clientOf(
      user((request) => {
        asked.resolve();
        return forever(request);
      }),
      over,
    );
    const listing = closed.listTools().catch((error: unknown) => error);
    await asked.promise;
    await closed.close();
    expect(await listing).toMatchObject({ code: 'cancelled' });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });

  it('tries again later when the authorization server is out of reach', async () => {
    const client = clientOf(user(), { ...over, reconnectOptions: { maxAttempts: 0 } });
    await authorizationServer.stop();
    await expect(client.listTools()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
