import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type AuthenticationRequest, ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import jsonwebtoken from 'jsonwebtoken';
import { describe, expect, it } from 'vitest';
import { type JwtAlgorithm, type JwtOptions, jwt } from '../src/index.js';

const SECRET = 'a test secret that is at least 32 bytes long';
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const ed = generateKeyPairSync('ed25519');
const clock = new ManualClock(1_800_000_000_000);
const NOW = 1_800_000_000;
const base = { issuer: 'https://issuer.test', audience: 'https://mcp.test', clock };
const CLAIMS: JsonObject = { sub: 'alice', iss: base.issuer, aud: base.audience, exp: NOW + 60, iat: NOW };

const from = (authorization: string | undefined): AuthenticationRequest => ({
  transport: 'http',
  header: (name) => (name === 'authorization' ? authorization : undefined),
});
const sign = (claims: JsonObject, key: string | KeyObject = SECRET, algorithm: jsonwebtoken.Algorithm = 'HS256', header: object = {}) =>
  jsonwebtoken.sign(claims, key, { algorithm, header: { alg: algorithm, ...header } });
const hs = (options: Partial<JwtOptions> = {}) => jwt({ ...base, key: SECRET, algorithms: ['HS256'], ...options });
const authenticate = (token: string, options: Partial<JwtOptions> = {}) => hs(options).authenticate(from(`Bearer ${token}`));

/** A token put together by hand, for what a library refuses to make. */
function forge(header: object, claims: object, secret: string | Buffer = ''): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${secret === '' ? '' : createHmac('sha256', secret).update(text).digest('base64url')}`;
}
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string;

describe('a good token', () => {
  it.each<[JwtAlgorithm, string | KeyObject, string | KeyObject]>([
    ['HS256', SECRET, SECRET],
    ['RS256', rsa.privateKey, rsa.publicKey],
    ['RS512', rsa.privateKey, pem],
    ['PS256', rsa.privateKey, rsa.publicKey],
    ['ES256', ec.privateKey, ec.publicKey],
    ['ES384', p384.privateKey, p384.publicKey],
  ])('signed with %s names the principal', async (algorithm, signingKey, key) => {
    const token = sign({ ...CLAIMS, roles: ['a', 'b'], scope: 'read write', client_id: 'cli', team: 'blue' }, signingKey, algorithm);
    expect(await jwt({ ...base, key, algorithms: [algorithm] }).authenticate(from(`bearer ${token}`))).toEqual({
      id: 'alice',
      authentication: 'jwt',
      roles: ['a', 'b'],
      scopes: ['read', 'write'],
      clientId: 'cli',
      issuer: base.issuer,
      expiresAt: (NOW + 60) * 1000,
      attributes: { roles: ['a', 'b'], scope: 'read write', client_id: 'cli', team: 'blue' },
    });
  });

  it.each([
    ['a list of audiences', { aud: ['https://other.test', base.audience] }, {}, { roles: [], scopes: [] }],
    ['nested roles', { realm_access: { roles: ['r'] } }, { rolesClaim: ['realm_access', 'roles'] }, { roles: ['r'] }],
    ['a claim with dots in its name', { 'https://x.test/roles': ['r'] }, { rolesClaim: 'https://x.test/roles' }, { roles: ['r'] }],
    ['scopes in a list', { scp: ['a', 'b'] }, { scopesClaim: 'scp' }, { scopes: ['a', 'b'] }],
    ['roles that are no strings', { roles: ['a', 1, null, { b: 1 }] }, {}, { roles: ['a'] }],
    ['roles inherited from the prototype', { x: 1 }, { rolesClaim: ['constructor', 'name'] }, { roles: [] }],
  ])('with %s', async (_name, claims, options, expected) => {
    expect(await authenticate(sign({ ...CLAIMS, ...claims } as JsonObject), options)).toMatchObject(expected);
  });

  it('may be a little old where clocks differ, and its identity ends as late', async () => {
    expect(await authenticate(sign({ ...CLAIMS, exp: NOW - 5 }), { clockToleranceSeconds: 10 })).toMatchObject({
      expiresAt: (NOW + 5) * 1000,
    });
  });
});

describe('a bad token is refused', () => {
  it.each<[string, string, string]>([
    ['expired', sign({ ...CLAIMS, exp: NOW - 1 }), 'The token has expired'],
    ['not valid yet', sign({ ...CLAIMS, nbf: NOW + 30 }), 'The token is not valid yet'],
    ['for another audience', sign({ ...CLAIMS, aud: 'https://other.test' }), 'The token is for another audience'],
    ['for no audience', sign({ sub: 'alice', iss: base.issuer, exp: NOW + 60 }), 'The token is for another audience'],
    ['for a prefix of the audience', sign({ ...CLAIMS, aud: 'https://mcp.test.evil.test' }), 'The token is for another audience'],
    ['from another issuer', sign({ ...CLAIMS, iss: 'https://evil.test' }), 'The token is from another issuer'],
    ['from no issuer', sign({ sub: 'alice', aud: base.audience, exp: NOW + 60 }), 'The token is from another issuer'],
    ['without expiry', sign({ sub: 'alice', iss: base.issuer, aud: base.audience }), 'The token has no expiry'],
    ['without subject', sign({ iss: base.issuer, aud: base.audience, exp: NOW + 60 }), 'The token has no subject'],
    ['with an empty subject', sign({ ...CLAIMS, sub: '' }), 'The token has no subject'],
    ['signed with another secret', sign(CLAIMS, 'another secret, also at least 32 bytes long'), 'The signature of the token is not valid'],
    ['signed with another algorithm', sign(CLAIMS, SECRET, 'HS512'), 'The token is signed with an algorithm that is not accepted'],
    ['alg none', forge({ alg: 'none', typ: 'JWT' }, CLAIMS), 'The signature of the token is not valid'],
    ['alg None', forge({ alg: 'None' }, CLAIMS), 'The signature of the token is not valid'],
    ['alg none with a signature', forge({ alg: 'none' }, CLAIMS, SECRET), 'The token is signed with an algorithm that is not accepted'],
    ['no alg', forge({ typ: 'JWT' }, CLAIMS, SECRET), 'The token is signed with an algorithm that is not accepted'],
    [
      'critical extensions',
      forge({ alg: 'HS256', crit: ['b64'], b64: false }, CLAIMS, SECRET),
      'The token uses extensions that are not supported',
    ],
    ['not JSON', `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.bm8.c2ln`, 'The signature of the token is not valid'],
    ['not base64url', 'x.y.z', 'The token is malformed'],
    ['a string as claims', jsonwebtoken.sign('text', SECRET), 'The token is for another audience'],
  ])('%s', async (_name, token, message) => {
    const failure = await authenticate(token).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'unauthenticated', message });
    expect((failure as { headers: Record<string, string> }).headers['www-authenticate']).toBe(
      `Bearer realm="mcp", error="invalid_token", error_description="${message}"`,
    );
  });

  it.each([
    ['the public key used as an HMAC secret', forge({ alg: 'HS256' }, CLAIMS, pem)],
    [
      'a key of its own in jwk',
      sign(CLAIMS, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256', { jwk: { kty: 'RSA' } }),
    ],
    [
      'a key of its own at jku',
      sign(CLAIMS, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256', { jku: 'https://evil.test/keys' }),
    ],
    [
      'a kid that is a path',
      sign(CLAIMS, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256', { kid: '../../dev/null' }),
    ],
  ])('%s', async (_name, token) => {
    const authenticator = jwt({ ...base, key: pem, algorithms: ['RS256'] });
    await expect(authenticator.authenticate(from(`Bearer ${token}`))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('whatever is changed in it', async () => {
    const good = sign(CLAIMS);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.constantFrom('A', 'B', 'f', 'z', '0', '9', '-', '_', '.'), async (at, character) => {
        // The last character of a part carries bits that base64url ignores.
        fc.pre(good[at] !== character && good[at + 1] !== '.' && good[at + 1] !== undefined);
        const changed = good.slice(0, at) + character + good.slice(at + 1);
        const outcome = await authenticate(changed).catch((error: { code?: string }) => error.code);
        expect(outcome === undefined || outcome === 'unauthenticated').toBe(true);
      }),
    );
  });
});

it.each([undefined, '', 'Basic YTpi', 'Bearer', 'Bearer opaque', 'Bearer a.b'])(
  'credentials of another kind are left to others: %s',
  async (header) => {
    expect(await hs().authenticate(from(header))).toBeUndefined();
  },
);

describe('the options', () => {
  it.each<[string, Partial<JwtOptions>, string]>([
    ['no algorithm', { algorithms: [] }, 'jwt.algorithms'],
    ['none', { algorithms: ['none' as never] }, 'jwt.algorithms[0]'],
    ['an algorithm not supported', { algorithms: ['EdDSA' as never] }, 'jwt.algorithms[0]'],
    ['a public algorithm with a secret', { algorithms: ['HS256', 'RS256'] }, 'jwt.algorithms[1]'],
    ['a secret algorithm with an RSA key', { key: pem, algorithms: ['RS256', 'HS256'] }, 'jwt.algorithms[1]'],
    ['an elliptic algorithm with an RSA key', { key: pem, algorithms: ['ES256'] }, 'jwt.algorithms[0]'],
    ['an algorithm of another curve', { key: ec.publicKey, algorithms: ['ES384'] }, 'jwt.algorithms[0]'],
    ['a key of a type not supported', { key: ed.publicKey, algorithms: ['ES256'] }, 'jwt.algorithms[0]'],
    ['a short secret', { key: 'short' }, 'jwt.key'],
    ['a secret too short for the hash', { key: 'x'.repeat(40), algorithms: ['HS512'] }, 'jwt.key'],
    ['a broken PEM', { key: '-----BEGIN PUBLIC KEY-----\nnonsense', algorithms: ['RS256'] }, 'jwt.key'],
    ['no issuer', { issuer: '' }, 'jwt.issuer'],
    ['no audience', { audience: '' }, 'jwt.audience'],
    ['a tolerance that forgives everything', { clockToleranceSeconds: 3600 }, 'jwt.clockToleranceSeconds'],
  ])('%s', (_name, options, option) => {
    expect(() => hs(options)).toThrow(ConfigurationError);
    expect(() => hs(options)).toThrow(expect.objectContaining({ option }));
  });

  it('do not repeat a key they refuse', () => {
    const key = 'short but secret';
    expect(() => hs({ key })).toThrow(expect.objectContaining({ message: expect.not.stringContaining(key) }));
  });
});
