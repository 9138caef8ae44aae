import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { ClientCertificate } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type ClientCertificateAuthenticatorOptions,
  type ClientCertificateOptions,
  clientCertificate,
  type HttpOptions,
  http,
} from '../src/index.js';
import { callTool, startHttp, testJwt, testService, token } from './support/server.js';

const fixture = (name: string) => readFileSync(new URL(`./fixtures/test-only-${name}`, import.meta.url));
const CA = fixture('client-ca.pem');
const owner = { cert: fixture('client.pem'), key: fixture('client.key') };
const stranger = { cert: fixture('stranger.pem'), key: fixture('stranger.key') };

const start = (
  clientCertificates: Partial<ClientCertificateOptions> = {},
  options: ClientCertificateAuthenticatorOptions = {},
  httpOptions: Partial<HttpOptions> = {},
) =>
  startHttp({
    service: testService().service,
    authenticators: [testJwt(), clientCertificate(options)],
    http: {
      tls: { cert: fixture('server.pem'), key: fixture('server.key'), clientCertificates: { ca: CA, ...clientCertificates } },
      ...httpOptions,
    },
  });

interface Credentials {
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** Calls `whoami`: the status, and the id of the principal. */
async function whoami(
  url: URL,
  credentials: Credentials,
  token?: string,
  agent?: Agent,
): Promise<{ status: number | undefined; id: unknown }> {
  const { headers, body } = callTool('whoami');
  const { authorization: _token, ...rest } = headers;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: 'POST',
        ca: fixture('server.pem'),
        headers: { ...rest, ...(token === undefined ? {} : { authorization: token }) },
        agent: agent ?? false,
        ...credentials,
      },
      (response) => {
        let text = '';
        response.on('data', (chunk) => (text += String(chunk)));
        response.on('end', () => {
          const json = /\{.*\}/s.exec(text)?.[0] ?? '{}';
          const result = (JSON.parse(json) as { result?: { content: [{ text: string }] } }).result;
          resolve({ status: response.statusCode, id: result && (JSON.parse(result.content[0].text) as { id: string }).id });
        });
      },
    );
    outgoing.on('error', reject).end(body);
  });
}

describe('a client certificate', () => {
  it('names the principal by its URI', async () => {
    const { url } = await start();
    expect(await whoami(url, owner)).toEqual({ status: 200, id: 'spiffe://example.org/billing' });
  });

  it('is given to the map whole', async () => {
    let seen: ClientCertificate | undefined;
    const { url } = await start(
      {},
      {
        map: (certificate) => {
          seen = certificate;
          return { id: String(certificate.subject.CN), roles: ['service'] };
        },
      },
    );
    expect(await whoami(url, owner)).toEqual({ status: 200, id: 'billing' });
    expect(seen).toEqual({
      subject: { O: 'Example', OU: 'Payments', CN: 'billing' },
      issuer: { CN: 'Test only client CA' },
      subjectAltNames: [
        { type: 'DNS', value: 'billing.internal' },
        { type: 'URI', value: 'spiffe://example.org/billing' },
        { type: 'email', value: 'a@example.org' },
        { type: 'IP Address', value: '10.0.0.1' },
      ],
      fingerprint256: expect.stringMatching(/^[\da-f]{64}$/),
      expiresAt: expect.any(Number),
    });
  });

  it('that the map does not know is refused', async () => {
    const { url, audit } = await start({}, { map: () => undefined });
    expect(await whoami(url, owner)).toMatchObject({ status: 401 });
    expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', reason: 'unknown client certificate' });
  });

  it('is known again when its TLS session is resumed', async () => {
    const { url } = await start();
    const agent = new Agent({ ca: fixture('server.pem'), keepAlive: false, maxCachedSessions: 10, ...owner });
    onTestFinished(() => agent.destroy());
    for (let i = 0; i < 3; i += 1) expect(await whoami(url, {}, undefined, agent)).toMatchObject({ status: 200 });
  });

  it.each([
    ['none', {}],
    ['one of another authority', stranger],
  ])('is required: %s cannot connect', async (_name, credentials) => {
    const { url } = await start();
    await expect(whoami(url, credentials)).rejects.toThrow();
  });

  it('may be optional, and then none is a caller without credentials and a stranger’s a refusal', async () => {
    const { url, audit, server } = await start({ required: false });
    expect(await whoami(url, owner)).toMatchObject({ status: 200 });
    expect(await whoami(url, {})).toMatchObject({ status: 401 });
    await expect(whoami(url, stranger)).rejects.toThrow();
    expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', reason: expect.stringContaining('client certificate: ') });
    await server.stop();
    expect(server.metrics().activeConnections).toBe(0);
  });

  it('is still asked for when the server’s own is renewed', async () => {
    const pair = { cert: fixture('server.pem'), key: fixture('server.key') };
    const listener = http({ port: 0, tls: { ...pair, clientCertificates: { ca: CA } } });
    const { server } = await startHttp({ service: testService().service, listeners: [listener], authenticators: [clientCertificate()] });
    const url = new URL(server.endpoints[0] as string);
    const changes = [{}, { clientCertificates: { ca: CA, required: false } }];
    for (const change of changes) {
      expect(() => listener.reloadTls({ ...pair, ...change })).toThrow(expect.objectContaining({ option: 'http.tls.clientCertificates' }));
    }
    listener.reloadTls({ ...pair, clientCertificates: { ca: CA } });
    expect(await whoami(url, owner)).toMatchObject({ status: 200 });
    await expect(whoami(url, stranger)).rejects.toThrow();
    await expect(whoami(url, {})).rejects.toThrow();
    listener.reloadTls({ ...pair, clientCertificates: { ca: stranger.cert } });
    await expect(whoami(url, owner)).rejects.toThrow();
    expect(await whoami(url, stranger)).toEqual({ status: 200, id: 'billing' });
  });

  it('is what a token bound to it needs', async () => {
    const { url } = await start({ required: false });
    const bound = `Bearer ${token({ cnf: { 'x5t#S256': createHash('sha256').update(new X509Certificate(owner.cert).raw).digest('base64url') } })}`;
    expect(await whoami(url, owner, bound)).toEqual({ status: 200, id: 'alice' });
    expect(await whoami(url, {}, bound)).toMatchObject({ status: 401 });
    const other = `Bearer ${token({ cnf: { 'x5t#S256': createHash('sha256').update('other').digest('base64url') } })}`;
    expect(await whoami(url, owner, other)).toMatchObject({ status: 401 });
  });

  it('gives way to the authenticators before it', async () => {
    const { url } = await start();
    expect(await whoami(url, owner, callTool('whoami').headers.authorization)).toEqual({ status: 200, id: 'alice' });
    expect(await whoami(url, owner, 'Bearer a.b.c')).toMatchObject({ status: 401 });
  });

  it('counts on a WebSocket that shares the port, too', async () => {
    let id = '';
    const map = ({ subject }: ClientCertificate) => ({ id: (id = String(subject.CN)) });
    const { server } = await start({}, { map }, { upgrades: [encryptedWebSocket({ path: '/ws' })] });
    const url = new URL((server.endpoints[1] as string).replace('wss:', 'https:'));
    const handshake = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-protocol': 'mcp',
    };
    await new Promise<void>((resolve, reject) => {
      const outgoing = request(url, { ca: fixture('server.pem'), agent: false, headers: handshake, ...owner });
      outgoing
        .on('upgrade', (_response, socket) => resolve(void socket.destroy()))
        .on('error', reject)
        .end();
    });
    expect(id).toBe('billing');
  });
});

const certificate: ClientCertificate = {
  subject: { CN: 'common' },
  issuer: { CN: 'CA', O: ['A', 'B'] },
  subjectAltNames: [],
  fingerprint256: '0'.repeat(64),
  expiresAt: 5000,
};
const authenticate = (changes: Partial<ClientCertificate>, options: ClientCertificateAuthenticatorOptions = {}) =>
  clientCertificate(options).authenticate({
    transport: 'http',
    header: () => undefined,
    clientCertificate: { ...certificate, ...changes },
  });

it('the identity is the issuer’s, and ends with the certificate or before', async () => {
  expect(await authenticate({})).toEqual({
    id: 'common',
    authentication: 'client-certificate',
    roles: [],
    scopes: [],
    issuer: '["CN=CA","O=A","O=B"]',
    expiresAt: 5000,
  });
  expect(await authenticate({}, { map: () => ({ id: 'a', expiresAt: 4000 }) })).toMatchObject({ expiresAt: 4000 });
  expect(await authenticate({}, { map: () => ({ id: 'a', expiresAt: 6000 }) })).toMatchObject({ expiresAt: 5000 });
  expect(await authenticate({ subjectAltNames: [{ type: 'DNS', value: 'a.test' }] })).toMatchObject({ id: 'a.test' });
  await expect(authenticate({ subject: {} })).rejects.toMatchObject({ code: 'unauthenticated' });
  await expect(authenticate({ subject: { CN: ['a', 'b'] } })).rejects.toMatchObject({ code: 'unauthenticated' });
});

it.each<[string, ClientCertificateOptions['ca'], string]>([
  ['none', [], 'http.tls.clientCertificates.ca'],
  ['no certificate', [CA, 'nonsense'], 'http.tls.clientCertificates.ca[1]'],
])('authorities are certificates: %s', (_name, ca, option) => {
  const tls = { cert: fixture('server.pem'), key: fixture('server.key'), clientCertificates: { ca } };
  expect(() => http({ port: 0, tls })).toThrow(expect.objectContaining({ option }));
});
