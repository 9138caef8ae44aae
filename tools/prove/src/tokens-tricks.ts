import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { AUDIENCE, CLAIMS, ISSUER, NOW, part, type Signer, token } from './tokens-issuer.ts';

/** A token and whether it is good. */
export interface Trick {
  readonly name: string;
  readonly token: string;
  readonly good: boolean;
}

const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const strangerEc = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const byStranger = (text: string) => sign('sha256', Buffer.from(text), stranger.privateKey);
const hmac =
  (secret: string | Buffer, hash = 'sha256') =>
  (text: string) =>
    createHmac(hash, secret).update(text).digest();

/** Every known trick against the verification of JWTs, played on one signer; and controls, which must be accepted. */
export function tricksFor(signer: Signer): readonly Trick[] {
  const { alg, kid } = signer;
  const header = { alg, kid };
  const signed = (claims: unknown, own: unknown = header) => token(own, claims, (text) => signer.sign(text));
  const good = signed(CLAIMS);
  const [head, body, signature] = good.split('.') as [string, string, string];
  const bad: [name: string, token: string][] = [];
  const with_ = (name: string, claims: object) => bad.push([name, signed({ ...CLAIMS, ...claims })]);

  for (const none of ['none', 'None', 'NONE', 'nOnE', '', 'null']) {
    bad.push(
      [`alg ${none}`, token({ alg: none, kid }, CLAIMS, () => '')],
      [`alg ${none} with a signature`, `${part({ alg: none, kid })}.${body}.${signature}`],
    );
  }
  for (const odd of [undefined, null, [alg], { alg }, alg.toLowerCase(), ` ${alg}`, 0])
    bad.push([`alg ${JSON.stringify(odd)}`, signed(CLAIMS, { alg: odd, kid })]);
  for (const other of ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA'].filter((name) => name !== alg))
    bad.push([`renamed to ${other}`, signed(CLAIMS, { alg: other, kid })]);

  if (signer.key.type === 'public') {
    const pem = signer.key.export({ type: 'spki', format: 'pem' }) as string;
    const secrets = [
      pem,
      pem.trim(),
      signer.key.export({ type: 'spki', format: 'der' }),
      JSON.stringify(signer.key.export({ format: 'jwk' })),
    ];
    for (const [index, secret] of secrets.entries()) {
      for (const bits of ['256', '384', '512'])
        bad.push([`the public key as an HMAC secret ${index}`, token({ alg: `HS${bits}`, kid }, CLAIMS, hmac(secret, `sha${bits}`))]);
    }
  }
  const injections: [string, string][] = [
    ['../../../../dev/null', ''],
    ['/dev/null', ''],
    ["' UNION SELECT 'secret' -- ", 'secret'],
    ['key.pem|id', ''],
    ['__proto__', '[object Object]'],
    ['constructor', 'function Object() { [native code] }'],
    [`${kid}\u0000`, ''],
  ];
  for (const [name, secret] of injections) bad.push([`kid ${name}`, token({ alg: 'HS256', kid: name }, CLAIMS, hmac(secret))]);
  for (const name of [1, null, [kid], { kid }, true]) bad.push([`kid ${JSON.stringify(name)}`, signed(CLAIMS, { alg, kid: name })]);

  const jwk = stranger.publicKey.export({ format: 'jwk' });
  for (const lure of [
    { jwk },
    { jku: 'https://evil.example/keys' },
    { x5u: 'https://evil.example/cert' },
    { x5c: ['MIIB'] },
    { x5t: 'AAAA' },
  ]) {
    for (const named of [kid, 'mine', undefined])
      bad.push([`own key in ${Object.keys(lure)[0]}`, token({ alg: 'RS256', kid: named, ...lure }, CLAIMS, byStranger)]);
  }
  bad.push([
    'own elliptic key in jwk',
    token({ alg: 'ES256', kid, jwk: strangerEc.publicKey.export({ format: 'jwk' }) }, CLAIMS, (text) =>
      sign('sha256', Buffer.from(text), { key: strangerEc.privateKey, dsaEncoding: 'ieee-p1363' }),
    ),
  ]);

  for (const typ of ['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'JWE', '', 1, ['JWT'], null])
    bad.push([`typ ${JSON.stringify(typ)}`, signed(CLAIMS, { ...header, typ })]);
  for (const crit of [['exp'], [], ['b64'], 'exp', null, {}])
    bad.push([`crit ${JSON.stringify(crit)}`, signed(CLAIMS, { ...header, crit, b64: true })]);
  bad.push(['b64 false', signed(CLAIMS, { ...header, crit: ['b64'], b64: false })]);

  bad.push(
    ['empty signature', `${head}.${body}.`],
    ['no signature', `${head}.${body}`],
    ['a fourth part', `${good}.${signature}`],
    ['an empty first part', `.${good}`],
  );
  for (const length of [1, 32, 64, 96, 132, 256])
    bad.push([`${length} zeros for a signature`, token(header, CLAIMS, () => Buffer.alloc(length))]);
  bad.push(['signature twice', `${good}${signature}`], ['parts in JSON', JSON.stringify({ protected: head, payload: body, signature })]);
  bad.push(
    ['another issuer’s signature', token(header, CLAIMS, byStranger)],
    ['the signature of other claims', `${head}.${part({ ...CLAIMS, sub: 'root' })}.${signature}`],
  );

  for (const padding of ['=', '==', '%3D', '\n', '\t', ' ']) {
    bad.push(
      [`padding ${JSON.stringify(padding)}`, `${head}${padding}.${body}.${signature}`],
      [`padding ${JSON.stringify(padding)}`, `${head}.${body}${padding}.${signature}`],
    );
    if (padding.trim() !== '') bad.push([`padding ${padding}`, `${good}${padding}`]);
  }
  const bits = Buffer.from(signature, 'base64url').length % 3;
  if (bits !== 0) {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    bad.push(['unused bits set', good.slice(0, -1) + alphabet[alphabet.indexOf(good.at(-1) as string) + 1]]);
  }
  const standard = (text: string) => text.replaceAll('-', '+').replaceAll('_', '/');
  if (standard(signature) !== signature) bad.push(['the other base64 alphabet', `${head}.${body}.${standard(signature)}`]);

  const json = JSON.stringify(CLAIMS).slice(1);
  bad.push(
    ['a claim twice', signed(`{"sub":"root",${json}`)],
    ['a claim twice, escaped', signed(`{"s\\u0075b":"root",${json}`)],
    ['a header twice', signed(CLAIMS, `{"alg":"none","alg":"${alg}","kid":"${kid}"}`)],
  );
  bad.push(
    ['a byte order mark', signed(`\ufeff${JSON.stringify(CLAIMS)}`)],
    ['text that is not UTF-8', signed(Buffer.from(JSON.stringify({ ...CLAIMS, a: 'ÿ' }), 'latin1'))],
  );
  for (const claims of ['', 'null', '[]', '"text"', '1', '{', good]) bad.push([`claims ${claims.slice(0, 8)}`, signed(claims)]);
  bad.push(['a nested token', signed(good, { ...header, cty: 'JWT' })], ['five parts', `${good}.${body}.${signature}`]);
  with_('huge', { text: 'x'.repeat(1_000_000) });

  for (const exp of [NOW - 1, NOW, 0, -1, String(NOW + 600), null, [NOW + 600], true, undefined])
    with_(`exp ${JSON.stringify(exp)}`, { exp });
  bad.push(['exp Infinity', signed(`{"exp":1e999,${JSON.stringify({ ...CLAIMS, exp: undefined }).slice(1)}`)]);
  for (const nbf of [NOW + 1, NOW + 86_400, '0', null, false]) with_(`nbf ${JSON.stringify(nbf)}`, { nbf });
  for (const iat of [NOW + 61, NOW + 86_400, '0', null]) with_(`iat ${JSON.stringify(iat)}`, { iat });
  const upper = AUDIENCE.toUpperCase();
  const audiences = [
    undefined,
    null,
    '',
    [],
    {},
    [[AUDIENCE]],
    { [AUDIENCE]: true },
    `${AUDIENCE}/`,
    AUDIENCE.slice(0, -1),
    upper,
    `${AUDIENCE} x`,
    ['x', null],
    'https://other.example',
  ];
  for (const aud of audiences) with_(`aud ${JSON.stringify(aud)}`, { aud });
  for (const iss of [undefined, null, '', `${ISSUER}/`, ISSUER.toUpperCase(), [ISSUER], { iss: ISSUER }, 'https://evil.example'])
    with_(`iss ${JSON.stringify(iss)}`, { iss });
  for (const sub of [undefined, null, '', 1, ['alice'], {}]) with_(`sub ${JSON.stringify(sub)}`, { sub });

  for (const cnf of [{ jkt: 'abc' }, { 'x5t#S256': 'abc' }, { jwk: {} }, { kid }, {}, null, 'jkt', ['x5t#S256']])
    with_(`cnf ${JSON.stringify(cnf)}`, { cnf });

  const controls: [string, string][] = [
    ['good', good],
    ['one audience of several', signed({ ...CLAIMS, aud: ['https://other.example', AUDIENCE] })],
    ['typ JWT', signed(CLAIMS, { ...header, typ: 'JWT' })],
    ['typ at+jwt', signed(CLAIMS, { ...header, typ: 'at+jwt' })],
    ['keys of others are ignored', signed(CLAIMS, { ...header, jku: 'https://evil.example/keys', jwk, x5u: 'https://evil.example/cert' })],
    ['already valid', signed({ ...CLAIMS, nbf: NOW })],
  ];
  return [
    ...bad.map(([name, text]) => ({ name, token: text, good: false })),
    ...controls.map(([name, text]) => ({ name, token: text, good: true })),
  ];
}
