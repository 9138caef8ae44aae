import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AuthenticationRequest, JsonObject } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import jsonwebtoken from 'jsonwebtoken';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type JwksOptions, type JwtAlgorithm, jwt } from '../src/index.js';

const NOW = 1_800_000_000;
const ISSUER = 'https://issuer.test';
const AUDIENCE = 'https://mcp.test';
const URL_OF_KEYS = 'https://issuer.test/keys';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const jwkOf = (key: KeyObject, members: JsonObject = {}): JsonObject => ({ ...(key.export({ format: 'jwk' }) as JsonObject), ...members });
const tokenOf = (kid: string | undefined, key: KeyObject = ec.privateKey, algorithm: jsonwebtoken.Algorithm = 'ES256') =>
  jsonwebtoken.sign({ sub: 'alice', iss: ISSUER, aud: AUDIENCE, exp: NOW + 100_000, iat: NOW }, key, {
    algorithm,
    ...(kid === undefined ? {} : { keyid: kid }),
  });
const from = (token: string): AuthenticationRequest => ({ transport: 'http', header: () => `Bearer ${token}` });

/** An issuer whose key set and manners a test can change. */
function issuer(options: Partial<JwksOptions> & { algorithms?: readonly JwtAlgorithm[] } = {}) {
  const { algorithms = ['ES256', 'RS256', 'EdDSA'], ...jwks } = options;
  const clock = new ManualClock(NOW * 1000);
  const state = {
    clock,
    keys: [jwkOf(ec.publicKey, { kid: 'a' })] as unknown,
    fetches: 0,
    last: undefined as RequestInit | undefined,
    answer: async (_signal: AbortSignal): Promise<Response> => Response.json({ keys: state.keys }),
  };
  const authenticator = jwt({
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms,
    clock,
    jwks: {
      url: URL_OF_KEYS,
      fetch: async (url, init) => {
        expect(String(url)).toBe(URL_OF_KEYS);
        state.fetches += 1;
        state.last = init;
        return state.answer(init?.signal as AbortSignal);
      },
      ...jwks,
    },
  });
  return Object.assign(state, { present: (token: string) => authenticator.authenticate(from(token)) });
}

const unknownKey = { code: 'unauthenticated', message: 'The token is signed with an unknown key' };

describe('a key set', () => {
  it.each<[string, JsonObject, string]>([
    ['elliptic', jwkOf(ec.publicKey, { kid: 'a', use: 'sig', alg: 'ES256' }), tokenOf('a')],
    ['RSA', jwkOf(rsa.publicKey, { kid: 'a', key_ops: ['verify'] }), tokenOf('a', rsa.privateKey, 'RS256')],
    ['without a name, for a token without one', jwkOf(ec.publicKey), tokenOf(undefined)],
    ['the only one that fits a token without a name', jwkOf(ec.publicKey, { kid: 'a' }), tokenOf(undefined)],
  ])('verifies with its key: %s', async (_name, key, token) => {
    const provider = issuer();
    provider.keys = [jwkOf(ed.publicKey, { kid: 'z' }), key];
    expect(await provider.present(token)).toMatchObject({ id: 'alice', issuer: ISSUER });
  });

  it('is fetched once for many tokens and kept for ten minutes', async () => {
    const provider = issuer();
    await Promise.all(Array.from({ length: 100 }, () => provider.present(tokenOf('a'))));
    await provider.clock.advance(599_999);
    await provider.present(tokenOf('a'));
    expect(provider.fetches).toBe(1);
    await provider.clock.advance(1);
    await provider.present(tokenOf('a'));
    expect(provider.fetches).toBe(2);
    expect(provider.last?.redirect).toBe('error');
    expect(provider.clock.pendingTimers).toBe(0);
  });

  it('is fetched anew, once, when many tokens name a key that is new', async () => {
    const provider = issuer();
    await provider.present(tokenOf('a'));
    const next = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    provider.keys = [jwkOf(ec.publicKey, { kid: 'a' }), jwkOf(next.publicKey, { kid: 'b' })];
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => provider.present(i % 2 ? tokenOf('a') : tokenOf('b', next.privateKey))),
    );
    expect(answers.every((principal) => principal?.id === 'alice')).toBe(true);
    expect(provider.fetches).toBe(2);
  });

  it('stops accepting a key that the issuer has withdrawn', async () => {
    const provider = issuer();
    await provider.present(tokenOf('a'));
    provider.keys = [];
    await provider.clock.advance(600_000);
    await expect(provider.present(tokenOf('a'))).rejects.toMatchObject(unknownKey);
  });

  it('is not fetched for every forged key name', async () => {
    const provider = issuer();
    await provider.present(tokenOf('a'));
    for (let i = 0; i < 50; i += 1) await expect(provider.present(tokenOf(`forged-${i}`))).rejects.toMatchObject(unknownKey);
    expect(provider.fetches).toBe(2);
    await provider.clock.advance(30_000);
    await expect(provider.present(tokenOf('forged'))).rejects.toMatchObject(unknownKey);
    expect(provider.fetches).toBe(3);
  });

  it.each<[string, JsonObject]>([
    ['a key for encryption', jwkOf(ec.publicKey, { kid: 'a', use: 'enc' })],
    ['a key for signing only', jwkOf(ec.publicKey, { kid: 'a', key_ops: ['sign'] })],
    ['a key for another algorithm', jwkOf(ec.publicKey, { kid: 'a', alg: 'ES384' })],
    ['a key of another type', jwkOf(rsa.publicKey, { kid: 'a' })],
    ['a broken key', { kty: 'EC', crv: 'P-256', x: '?', y: '?', kid: 'a' }],
    ['a shared secret', { kty: 'oct', k: Buffer.from('x'.repeat(32)).toString('base64url'), kid: 'a' }],
  ])('ignores %s', async (_name, key) => {
    const provider = issuer();
    provider.keys = [key, null, 'text'];
    await expect(provider.present(tokenOf('a'))).rejects.toMatchObject(unknownKey);
  });

  it('never lends its keys to HMAC', async () => {
    const provider = issuer();
    const [, payload] = tokenOf('a').split('.');
    const text = `${Buffer.from('{"alg":"HS256","kid":"a"}').toString('base64url')}.${payload}`;
    const pem = ec.publicKey.export({ type: 'spki', format: 'pem' });
    const forged = `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`;
    await expect(provider.present(forged)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(provider.fetches).toBe(0);
  });

  it('with two keys of one name gives neither', async () => {
    const provider = issuer();
    provider.keys = [jwkOf(ec.publicKey, { kid: 'a' }), jwkOf(ec.publicKey, { kid: 'a' })];
    await expect(provider.present(tokenOf('a'))).rejects.toMatchObject(unknownKey);
  });
});

describe('while the issuer is out of reach', () => {
  const down = async () => {
    throw new TypeError('fetch failed');
  };

  it('tokens cannot be judged, and the next second it is tried again', async () => {
    const provider = issuer();
    const up = provider.answer;
    provider.answer = down;
    for (let i = 0; i < 10; i += 1) await expect(provider.present(tokenOf('a'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(provider.fetches).toBe(1);
    provider.answer = up;
    await provider.clock.advance(1000);
    expect(await provider.present(tokenOf('a'))).toMatchObject({ id: 'alice' });
  });

  it('the keys that are there stay in use, for an hour', async () => {
    const provider = issuer();
    await provider.present(tokenOf('a'));
    provider.answer = down;
    await provider.clock.advance(600_000 + 3_599_999);
    expect(await provider.present(tokenOf('a'))).toMatchObject({ id: 'alice' });
    await provider.clock.advance(1);
    await expect(provider.present(tokenOf('a'))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a key that is new is not taken for a forged one, then or later', async () => {
    const provider = issuer();
    await provider.present(tokenOf('a'));
    const up = provider.answer;
    provider.answer = down;
    provider.keys = [jwkOf(ec.publicKey, { kid: 'b' })];
    await expect(provider.present(tokenOf('b'))).rejects.toMatchObject({ code: 'unavailable' });
    provider.answer = up;
    await provider.clock.advance(1000);
    expect(await provider.present(tokenOf('b'))).toMatchObject({ id: 'alice' });
  });

  it.each<[string, (signal: AbortSignal) => Promise<Response>]>([
    ['an error status', async () => new Response('{"keys":[]}', { status: 500 })],
    ['no JSON', async () => new Response('<html>')],
    ['JSON that is no key set', async () => Response.json({ keys: 'all of them' })],
    ['a list', async () => Response.json([])],
    ['more than 256 KiB', async () => Response.json({ keys: [], padding: 'x'.repeat(256 * 1024) })],
    [
      'a body without end',
      async () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
            },
          }),
        ),
    ],
  ])('or answers with %s, tokens cannot be judged', async (_name, answer) => {
    const provider = issuer();
    provider.answer = answer;
    await expect(provider.present(tokenOf('a'))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('or does not answer within five seconds, tokens cannot be judged', async () => {
    const provider = issuer();
    provider.answer = (signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    let outcome: unknown;
    void provider.present(tokenOf('a')).catch((error: unknown) => {
      outcome = error;
    });
    await provider.clock.advance(4999);
    expect(outcome).toBeUndefined();
    await provider.clock.advance(1);
    await settle();
    expect(outcome).toMatchObject({ code: 'unavailable', cause: { message: `${URL_OF_KEYS}: no answer within 5000 ms` } });
    expect(provider.clock.pendingTimers).toBe(0);
  });
});

it('the set is fetched over HTTP, and a redirect is not followed', async () => {
  let redirect = false;
  const server = createServer((request, response) => {
    if (redirect && request.url === '/keys') response.writeHead(302, { location: '/other' }).end();
    else response.end(JSON.stringify({ keys: [jwkOf(ec.publicKey, { kid: 'a' })] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  const verifier = () =>
    jwt({ issuer: ISSUER, audience: AUDIENCE, algorithms: ['ES256'], jwks: { url }, clock: new ManualClock(NOW * 1000) });
  expect(await verifier().authenticate(from(tokenOf('a')))).toMatchObject({ id: 'alice' });
  redirect = true;
  await expect(verifier().authenticate(from(tokenOf('a')))).rejects.toMatchObject({ code: 'unavailable' });
});
