import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type AuthenticationRequest, ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type IntrospectionOptions, introspection } from '../src/index.js';

const NOW = 1_800_000_000;
const AUDIENCE = 'https://mcp.test/mcp';
const CLAIMS = { active: true, sub: 'alice', aud: AUDIENCE, exp: NOW + 600, scope: 'read write', client_id: 'cli', iss: 'https://as.test' };
const from = (token: string, more: Partial<AuthenticationRequest> = {}): AuthenticationRequest => ({
  transport: 'http',
  header: () => `Bearer ${token}`,
  ...more,
});

/** An authorization server whose answers a test can change. */
function server(options: Partial<IntrospectionOptions> = {}) {
  const clock = new ManualClock(NOW * 1000);
  const state = {
    clock,
    asked: [] as RequestInit[],
    claims: CLAIMS as JsonObject,
    answer: async (): Promise<Response> => Response.json(state.claims),
  };
  const authenticator = introspection({
    url: 'https://as.test/introspect',
    clientId: 'mcp server',
    clientSecret: 'se:cret%',
    audience: AUDIENCE,
    clock,
    fetch: async (_url, init) => {
      state.asked.push(init as RequestInit);
      return state.answer();
    },
    ...options,
  });
  return Object.assign(state, {
    present: (token: string, more?: Partial<AuthenticationRequest>) => authenticator.authenticate(from(token, more)),
  });
}

describe('an opaque token', () => {
  it('names the principal that the authorization server knows it by', async () => {
    const as = server({ issuer: 'https://as.test' });
    expect(await as.present('opaque')).toEqual({
      id: 'alice',
      authentication: 'introspection',
      roles: [],
      scopes: ['read', 'write'],
      clientId: 'cli',
      issuer: 'https://as.test',
      expiresAt: (NOW + 600) * 1000,
      attributes: { scope: 'read write', client_id: 'cli' },
    });
    expect(as.asked[0]).toMatchObject({ method: 'POST', redirect: 'error', body: 'token=opaque&token_type_hint=access_token' });
    // RFC 6749 section 2.3.1: form-encoded before Basic.
    expect(as.asked[0]?.headers).toMatchObject({ authorization: `Basic ${btoa('mcp+server:se%3Acret%25')}` });
  });

  it('is accepted from the owner of the key it is bound to only', async () => {
    const as = server();
    as.claims = { ...CLAIMS, cnf: { 'x5t#S256': Buffer.alloc(32, 1).toString('base64url') } };
    const clientCertificate = (byte: string) => ({
      subject: {},
      issuer: {},
      subjectAltNames: [],
      fingerprint256: byte.repeat(32),
      expiresAt: Number.MAX_SAFE_INTEGER,
    });
    expect(await as.present('bound', { clientCertificate: clientCertificate('01') })).toMatchObject({ id: 'alice' });
    await expect(as.present('bound', { clientCertificate: clientCertificate('02') })).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(as.present('bound')).rejects.toMatchObject({ code: 'unauthenticated' });
    as.claims = { ...CLAIMS, cnf: { jkt: 'abc' } };
    await expect(as.present('dpop')).rejects.toMatchObject({ auditReason: 'cnf: jkt' });
  });

  it('of a client for itself names the client where that is accepted, and never a user', async () => {
    const { sub: _user, ...own } = CLAIMS;
    const refusing = server();
    refusing.claims = own;
    await expect(refusing.present('opaque')).rejects.toMatchObject({ auditReason: 'sub missing' });
    const as = server({ acceptClients: true });
    as.claims = own;
    expect(await as.present('own')).toMatchObject({ id: 'client:cli', clientId: 'cli' });
    as.claims = CLAIMS;
    expect(await as.present('of-a-user')).toMatchObject({ id: 'alice', clientId: 'cli' });
    for (const odd of [{ sub: null }, { sub: '' }, { client_id: '' }, { client_id: 1 }, { client_id: undefined }]) {
      as.claims = { ...own, ...odd } as JsonObject;
      await expect(as.present(JSON.stringify(odd))).rejects.toMatchObject({ auditReason: 'sub missing' });
    }
  });

  it('is asked about once, however many requests come with it, and again after the time of the cache', async () => {
    const as = server();
    await Promise.all(Array.from({ length: 100 }, () => as.present('opaque')));
    await as.clock.advance(29_999);
    await as.present('opaque');
    expect(as.asked).toHaveLength(1);
    await as.clock.advance(1);
    as.claims = { active: false };
    await expect(as.present('opaque')).rejects.toMatchObject({ code: 'unauthenticated', message: 'The token is not active' });
    expect(as.asked).toHaveLength(2);
  });

  it('that is not active is not asked about again for ten seconds', async () => {
    const as = server();
    as.claims = { active: false };
    for (let i = 0; i < 10; i += 1) await expect(as.present('bad')).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(as.asked).toHaveLength(1);
    await as.clock.advance(10_000);
    await expect(as.present('bad')).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(as.asked).toHaveLength(2);
  });

  it('expires also while its answer is kept', async () => {
    const as = server({ cacheMs: 3_600_000 });
    await as.present('opaque');
    await as.clock.advance(600_000);
    await expect(as.present('opaque')).rejects.toMatchObject({ message: 'The token has expired' });
  });

  it('is not driven out of the cache by a flood of forged ones', async () => {
    const as = server({ maxEntries: 2 });
    await as.present('good');
    as.claims = { active: false };
    for (let i = 0; i < 10; i += 1) await expect(as.present(`forged-${i}`)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(as.asked).toHaveLength(11);
    expect(await as.present('good')).toMatchObject({ id: 'alice' });
    expect(as.asked).toHaveLength(11);
  });

  it('is kept among as many as there is room for, the last used ones', async () => {
    const as = server({ maxEntries: 2 });
    for (const token of ['a', 'b', 'a', 'c', 'a']) await as.present(token);
    expect(as.asked.map(({ body }) => new URLSearchParams(body as string).get('token'))).toEqual(['a', 'b', 'c']);
  });

  it.each<[string, JsonObject, string]>([
    ['another audience', { aud: 'https://other.test' }, 'The token is for another audience'],
    ['no audience', { aud: undefined }, 'The token is for another audience'],
    ['another issuer', { iss: 'https://evil.test' }, 'The token is from another issuer'],
    ['no subject', { sub: undefined }, 'The token has no subject'],
    ['an expiry in the past', { exp: NOW - 1 }, 'The token has expired'],
    ['a start in the future', { nbf: NOW + 60 }, 'The token is not valid yet'],
  ])('with %s is refused', async (_name, claims, message) => {
    const as = server({ issuer: 'https://as.test' });
    as.claims = { ...CLAIMS, ...claims };
    await expect(as.present('opaque')).rejects.toMatchObject({ code: 'unauthenticated', message });
  });

  it('of a length that no header needs is not asked about', async () => {
    const as = server();
    await expect(as.present('x'.repeat(8193))).rejects.toMatchObject({ message: 'The token is too long' });
    expect(as.asked).toHaveLength(0);
  });
});

describe('nobody gets in', () => {
  it.each<[string, () => Promise<Response>]>([
    ['is out of reach', () => Promise.reject(new TypeError('fetch failed'))],
    ['refuses us', async () => Response.json({ active: true }, { status: 401 })],
    ['answers no JSON', async () => new Response('active')],
    ['answers something else', async () => Response.json({ sub: 'alice' })],
    ['says active in a string', async () => Response.json({ ...CLAIMS, active: 'true' })],
    ['answers more than 256 KiB', async () => Response.json({ ...CLAIMS, padding: 'x'.repeat(256 * 1024) })],
  ])('while the authorization server %s', async (_name, answer) => {
    const as = server();
    const up = as.answer;
    as.answer = answer;
    await expect(as.present('opaque')).rejects.toMatchObject({ code: 'unavailable', message: expect.not.stringContaining('opaque') });
    as.answer = up;
    expect(await as.present('opaque')).toMatchObject({ id: 'alice' });
  });

  it('beyond a hundred questions at a time', async () => {
    const as = server();
    const release: (() => void)[] = [];
    as.answer = () => new Promise((resolve) => release.push(() => resolve(Response.json(CLAIMS))));
    const waiting = Array.from({ length: 100 }, (_, i) => as.present(`token-${i}`));
    await settle();
    await expect(as.present('one-more')).rejects.toMatchObject({ code: 'unavailable' });
    for (const open of release) open();
    expect(await Promise.all(waiting)).toHaveLength(100);
  });
});

it('the question goes over HTTP as a form', async () => {
  const asked: string[] = [];
  const as = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    asked.push(`${request.method} ${request.headers['content-type']} ${body}`);
    response.end(JSON.stringify(CLAIMS));
  });
  await new Promise<void>((resolve) => as.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void as.close());
  const url = `http://127.0.0.1:${(as.address() as AddressInfo).port}/introspect`;
  const verifier = introspection({ url, clientId: 'a', clientSecret: 'b', audience: AUDIENCE, clock: new ManualClock(NOW * 1000) });
  expect(await verifier.authenticate(from('t+/='))).toMatchObject({ id: 'alice' });
  expect(asked).toEqual(['POST application/x-www-form-urlencoded token=t%2B%2F%3D&token_type_hint=access_token']);
});

it.each<[string, Partial<IntrospectionOptions>, string]>([
  ['a URL in the clear', { url: 'http://as.test/' }, 'introspection.url'],
  ['no client', { clientId: '' }, 'introspection.clientId'],
  ['no secret', { clientSecret: '' }, 'introspection.clientSecret'],
  ['no audience', { audience: [] }, 'introspection.audience'],
  ['a cache of a day', { cacheMs: 86_400_000 }, 'introspection.cacheMs'],
  ['a negative cache time', { negativeCacheMs: -1 }, 'introspection.negativeCacheMs'],
  ['no room', { maxEntries: 0 }, 'introspection.maxEntries'],
])('the options refuse %s', (_name, options, option) => {
  expect(() => server(options)).toThrow(ConfigurationError);
  expect(() => server(options)).toThrow(expect.objectContaining({ option }));
});
