import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto';
import { type AuthenticationRequest, ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import jsonwebtoken from 'jsonwebtoken';
import { describe, expect, it } from 'vitest';
import { type JwtAlgorithm, type JwtKey, type JwtOptions, jwt } from '../src/index.js';

const SECRET = 'a test secret that is at least 32 bytes long';
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' });
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
/** EdDSA, which jsonwebtoken does not know. */
const signEd = (claims: JsonObject, header: object = {}, algorithm = 'EdDSA') => {
  const text = [{ alg: algorithm, ...header }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${signBytes(null, Buffer.from(text), ed.privateKey).toString('base64url')}`;
};
const hs = (options: Partial<JwtOptions> = {}) => jwt({ ...base, key: SECRET, algorithms: ['HS256'], ...options });
const authenticate = (token: string, options: Partial<JwtOptions> = {}) => hs(options).authenticate(from(`Bearer ${token}`));

/** A token put together by hand, for what a library refuses to make. */
function forge(header: object, claims: object, secret: string | Buffer = ''): string {
  return forgeText(JSON.stringify(header), JSON.stringify(claims), secret);
}
function forgeText(header: string, claims: string | Buffer, secret: string | Buffer = SECRET): string {
  const text = `${Buffer.from(header).toString('base64url')}.${Buffer.from(claims as string).toString('base64url')}`;
  return `${text}.${secret === '' ? '' : createHmac('sha256', secret).update(text).digest('base64url')}`;
}
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string;

describe('a good token', () => {
  it.each<[JwtAlgorithm & jsonwebtoken.Algorithm, string | KeyObject, JwtKey]>([
    ['HS256', SECRET, SECRET],
    ['HS512', SECRET.repeat(2), Buffer.from(SECRET.repeat(2))],
    ['RS256', rsa.privateKey, rsa.publicKey],
    ['RS512', rsa.privateKey, pem],
    ['PS256', rsa.privateKey, rsa.publicKey],
    ['ES256', ec.privateKey, ec.publicKey],
    ['ES384', p384.privateKey, p384.publicKey],
    ['ES512', p521.privateKey, p521.publicKey],
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

  it.each(['EdDSA', 'Ed25519'] as const)('may be signed with %s', async (algorithm) => {
    const authenticator = jwt({ ...base, key: ed.publicKey, algorithms: [algorithm] });
    expect(await authenticator.authenticate(from(`Bearer ${signEd(CLAIMS, {}, algorithm)}`))).toMatchObject({ id: 'alice' });
    await expect(authenticator.authenticate(from(`Bearer ${signEd(CLAIMS, {}, 'ES256')}`))).rejects.toMatchObject({
      message: 'The token is signed with an algorithm that is not accepted',
    });
  });

  it('may be for one of several names of the server', async () => {
    const authenticator = hs({ audience: ['api://orders', base.audience] });
    expect(authenticator.audiences).toEqual(['api://orders', base.audience]);
    expect(await authenticator.authenticate(from(`Bearer ${sign(CLAIMS)}`))).toMatchObject({ id: 'alice' });
  });

  it.each([
    ['at+jwt', { typ: 'at+jwt' }, true],
    ['at+jwt', { typ: 'application/AT+JWT' }, true],
    ['at+jwt', { typ: 'JWT' }, false],
    ['at+jwt', { typ: undefined }, false],
    [undefined, { typ: 'at+jwt' }, true],
    [undefined, { typ: undefined }, true],
    [undefined, { typ: 'dpop+jwt' }, false],
    [undefined, { typ: ['JWT'] }, false],
  ])('when the type %s is demanded has the header %o: %s', async (typ, header, accepted) => {
    const outcome = authenticate(forge({ alg: 'HS256', ...header }, CLAIMS, SECRET), typ === undefined ? {} : { typ });
    await (accepted
      ? expect(outcome).resolves.toBeDefined()
      : expect(outcome).rejects.toMatchObject({ message: 'The token is of another type' }));
  });

  it('may be a little old where clocks differ, and its identity ends as late', async () => {
    expect(await authenticate(sign({ ...CLAIMS, exp: NOW - 5 }), { clockToleranceSeconds: 10 })).toMatchObject({
      expiresAt: (NOW + 5) * 1000,
    });
  });
});

describe('a token of another issuer', () => {
  const other = { issuer: 'https://other.test', key: SECRET.repeat(2), algorithms: ['HS256' as const] };
  const token = (iss: string, key: string) => sign({ ...CLAIMS, iss }, key);

  it('is left to the authenticator of that issuer', async () => {
    const chain = [hs(), hs(other)];
    const ask = async (presented: string) => {
      for (const authenticator of chain) {
        const principal = await authenticator.authenticate(from(`Bearer ${presented}`));
        if (principal !== undefined) return principal;
      }
      return undefined;
    };
    expect(await ask(token(base.issuer, SECRET))).toMatchObject({ issuer: base.issuer });
    expect(await ask(token(other.issuer, other.key))).toMatchObject({ issuer: other.issuer });
    // Each key speaks for its own issuer only.
    await expect(ask(token(other.issuer, SECRET))).rejects.toMatchObject({ message: 'The signature of the token is not valid' });
    await expect(ask(token(base.issuer, other.key))).rejects.toMatchObject({ message: 'The signature of the token is not valid' });
    expect(await ask(token('https://evil.test', SECRET))).toBeUndefined();
  });
});

describe('a bad token is refused', () => {
  it.each<[string, string, string]>([
    ['expired', sign({ ...CLAIMS, exp: NOW - 1 }), 'The token has expired'],
    ['not valid yet', sign({ ...CLAIMS, nbf: NOW + 30 }), 'The token is not valid yet'],
    ['for another audience', sign({ ...CLAIMS, aud: 'https://other.test' }), 'The token is for another audience'],
    ['for no audience', sign({ sub: 'alice', iss: base.issuer, exp: NOW + 60 }), 'The token is for another audience'],
    ['for a prefix of the audience', sign({ ...CLAIMS, aud: 'https://mcp.test.evil.test' }), 'The token is for another audience'],
    ['from no issuer', sign({ sub: 'alice', aud: base.audience, exp: NOW + 60 }), 'The token is from another issuer'],
    ['without expiry', sign({ sub: 'alice', iss: base.issuer, aud: base.audience }), 'The token has no expiry'],
    ['without subject', sign({ iss: base.issuer, aud: base.audience, exp: NOW + 60 }), 'The token has no subject'],
    ['with an empty subject', sign({ ...CLAIMS, sub: '' }), 'The token has no subject'],
    ['signed with another secret', sign(CLAIMS, 'another secret, also at least 32 bytes long'), 'The signature of the token is not valid'],
    ['signed with another algorithm', sign(CLAIMS, SECRET, 'HS512'), 'The token is signed with an algorithm that is not accepted'],
    ['alg none', forge({ alg: 'none', typ: 'JWT' }, CLAIMS), 'The token is signed with an algorithm that is not accepted'],
    ['alg None', forge({ alg: 'None' }, CLAIMS), 'The token is signed with an algorithm that is not accepted'],
    ['no signature', `${sign(CLAIMS).split('.', 2).join('.')}.`, 'The signature of the token is not valid'],
    ['issued in an hour', sign({ ...CLAIMS, iat: NOW + 3600 }), 'The token is not valid yet'],
    ['an expiry that is no number', forge({ alg: 'HS256' }, { ...CLAIMS, exp: '9999999999' }, SECRET), 'The token is malformed'],
    ['a start that is no number', forge({ alg: 'HS256' }, { ...CLAIMS, nbf: 'never' }, SECRET), 'The token is malformed'],
    ['an audience in a list in a list', sign({ ...CLAIMS, aud: [[base.audience]] }), 'The token is for another audience'],
    ['a kid that is no string', forge({ alg: 'HS256', kid: ['a'] }, CLAIMS, SECRET), 'The token is malformed'],
    ['another kind of token', sign(CLAIMS, SECRET, 'HS256', { typ: 'logout+jwt' }), 'The token is of another type'],
    ['a repeated header', forgeText('{"alg":"none","alg":"HS256"}', JSON.stringify(CLAIMS)), 'The token is malformed'],
    ['a repeated claim', forgeText('{"alg":"HS256"}', `{"sub":"mallory",${JSON.stringify(CLAIMS).slice(1)}`), 'The token is malformed'],
    [
      'a claim repeated with an escape, deeper down',
      forgeText('{"alg":"HS256"}', `{"a":[{"r\\u006fle":1,"role":2}],${JSON.stringify(CLAIMS).slice(1)}`),
      'The token is malformed',
    ],
    ['text that is not UTF-8', forgeText('{"alg":"HS256"}', Buffer.from('{"sub":"\xff"}', 'latin1')), 'The token is malformed'],
    ['more than the longest token', sign({ ...CLAIMS, text: 'x'.repeat(8192) }), 'The token is too long'],
    ['alg none with a signature', forge({ alg: 'none' }, CLAIMS, SECRET), 'The token is signed with an algorithm that is not accepted'],
    ['no alg', forge({ typ: 'JWT' }, CLAIMS, SECRET), 'The token is signed with an algorithm that is not accepted'],
    [
      'critical extensions',
      forge({ alg: 'HS256', crit: ['b64'], b64: false }, CLAIMS, SECRET),
      'The token uses extensions that are not supported',
    ],
    ['not JSON', `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.bm8.c2ln`, 'The token is malformed'],
    ['not base64url', 'x.y.z', 'The token is malformed'],
    ['a string as claims', jsonwebtoken.sign('text', SECRET), 'The token is malformed'],
    ['a token in the token', forgeText('{"alg":"HS256","cty":"JWT"}', sign(CLAIMS)), 'The token is malformed'],
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
        fc.pre(good[at] !== character);
        const changed = good.slice(0, at) + character + good.slice(at + 1);
        const outcome = await authenticate(changed).catch((error: { code?: string }) => error.code);
        expect(outcome === undefined || outcome === 'unauthenticated').toBe(true);
      }),
    );
  });
});

describe('a token bound to a key', () => {
  const certificate = (fingerprint256: string) => ({
    subject: {},
    issuer: {},
    subjectAltNames: [],
    fingerprint256,
    expiresAt: Number.MAX_SAFE_INTEGER,
  });
  const mine = createHash('sha256').update('mine').digest();
  const cnf = { 'x5t#S256': mine.toString('base64url') };
  const present = (confirmation: unknown, fingerprint?: string) =>
    hs().authenticate({
      ...from(`Bearer ${sign({ ...CLAIMS, cnf: confirmation } as JsonObject)}`),
      ...(fingerprint === undefined ? {} : { clientCertificate: certificate(fingerprint) }),
    });

  it('is accepted with the certificate it is bound to', async () => {
    expect(await present(cnf, mine.toString('hex'))).toMatchObject({ id: 'alice' });
  });

  it.each([
    ['without a certificate', cnf, undefined, 'cnf without certificate'],
    ['with another certificate', cnf, '00'.repeat(32), 'cnf of another certificate'],
    ['with a thumbprint in hex', { 'x5t#S256': mine.toString('hex') }, mine.toString('hex'), 'cnf of another certificate'],
    ['with a thumbprint that is none', { 'x5t#S256': null }, mine.toString('hex'), 'cnf of another certificate'],
    ['by DPoP', { jkt: 'abc' }, mine.toString('hex'), 'cnf: jkt'],
    ['by a certificate and DPoP', { ...cnf, jkt: 'abc' }, mine.toString('hex'), 'cnf: x5t#S256, jkt'],
    ['by a key nobody knows', { kid: '1' }, mine.toString('hex'), 'cnf: kid'],
    ['to nothing', {}, mine.toString('hex'), 'cnf: '],
    ['by null', null, undefined, 'cnf: '],
    ['by text', 'jkt', undefined, 'cnf: '],
    ['by a list', [cnf], mine.toString('hex'), 'cnf: '],
  ])('is refused %s', async (_name, confirmation, fingerprint, auditReason) => {
    await expect(present(confirmation, fingerprint)).rejects.toMatchObject({ code: 'unauthenticated', auditReason });
  });
});

describe('several keys', () => {
  const keys = [
    { kid: 'old', key: SECRET },
    { kid: 'new', key: SECRET.toUpperCase() },
    { kid: 'rsa', key: rsa.publicKey },
  ];
  const several = jwt({ ...base, keys, algorithms: ['HS256', 'RS256'] });
  const present = (token: string) => several.authenticate(from(`Bearer ${token}`));

  it.each([
    ['old', sign(CLAIMS, SECRET, 'HS256', { kid: 'old' })],
    ['new', sign(CLAIMS, SECRET.toUpperCase(), 'HS256', { kid: 'new' })],
    ['rsa', sign(CLAIMS, rsa.privateKey, 'RS256', { kid: 'rsa' })],
    ['the only one for the algorithm, unnamed', sign(CLAIMS, rsa.privateKey, 'RS256')],
  ])('are valid side by side: %s', async (_name, token) => {
    expect(await present(token)).toMatchObject({ id: 'alice' });
  });

  it.each([
    ['another key’s name', sign(CLAIMS, SECRET, 'HS256', { kid: 'new' }), 'The signature of the token is not valid'],
    ['a name unknown', sign(CLAIMS, SECRET, 'HS256', { kid: 'none' }), 'The token is signed with an unknown key'],
    ['a name from the prototype', sign(CLAIMS, SECRET, 'HS256', { kid: '__proto__' }), 'The token is signed with an unknown key'],
    ['no name where several fit', sign(CLAIMS), 'The token is signed with an unknown key'],
    ['the name of a key of another family', forge({ alg: 'HS256', kid: 'rsa' }, CLAIMS, pem), 'The token is signed with an unknown key'],
  ])('are not mixed up: %s', async (_name, token, message) => {
    await expect(present(token)).rejects.toMatchObject({ code: 'unauthenticated', message });
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
    ['an algorithm not supported', { algorithms: ['ES256K' as never] }, 'jwt.algorithms[0]'],
    ['two sources of keys', { keys: [{ kid: 'a', key: SECRET }] }, 'jwt.key'],
    ['no source of keys', { key: undefined as never }, 'jwt.key'],
    ['no keys', { key: undefined as never, keys: [] }, 'jwt.keys'],
    ['a key without name', { key: undefined as never, keys: [{ kid: '', key: SECRET }] }, 'jwt.keys[0].kid'],
    [
      'two keys of one name',
      {
        key: undefined as never,
        keys: [
          { kid: 'a', key: SECRET },
          { kid: 'a', key: SECRET },
        ],
      },
      'jwt.keys[1].kid',
    ],
    ['a key for none of the algorithms', { key: undefined as never, keys: [{ kid: 'a', key: pem }] }, 'jwt.keys[0].key'],
    ['a small RSA key', { key: generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, algorithms: ['RS256'] }, 'jwt.key'],
    ['an empty type', { typ: '' }, 'jwt.typ'],
    ['no length', { maxTokenLength: 0 }, 'jwt.maxTokenLength'],
    ['an empty audience among others', { audience: ['a', ''] }, 'jwt.audience'],
    ['a secret algorithm with a key set', { key: undefined as never, jwks: { url: 'https://a.test/' } }, 'jwt.algorithms[0]'],
    ...(['ftp://a.test/', 'http://a.test/', 'nonsense', 'https://user:pass@a.test/'] as const).map(
      (url): [string, Partial<JwtOptions>, string] => [
        `a key set at ${url}`,
        { key: undefined as never, algorithms: ['RS256'], jwks: { url } },
        'jwt.jwks.url',
      ],
    ),
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
