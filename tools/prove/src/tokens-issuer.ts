import { constants, createHmac, createSecretKey, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import type { JwtAlgorithm } from '@mcp-blocks/secure-mcp-server';

export const NOW = 1_800_000_000;
export const ISSUER = 'https://issuer.example';
export const AUDIENCE = 'https://mcp.example/mcp';
export const CLAIMS = { iss: ISSUER, aud: AUDIENCE, sub: 'alice', exp: NOW + 600, iat: NOW, scope: 'read' };

/** One algorithm of an issuer, with its key. Signed with node:crypto alone, so that no library checks itself. */
export interface Signer {
  readonly alg: JwtAlgorithm;
  readonly kid: string;
  /** What verifies: the secret or the public key. */
  readonly key: KeyObject;
  sign(text: string): Buffer;
}

/** Base64url of JSON, or of text as it is. */
export function part(value: unknown): string {
  return Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? (value as string) : JSON.stringify(value)).toString('base64url');
}

/** A compact JWS of a header and claims, each as an object or as its exact text. */
export function token(header: unknown, claims: unknown, signature: (text: string) => Buffer | string): string {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${part(signature(text))}`;
}

/** A signer for each algorithm. RSA algorithms share their key, which a real issuer may do too. */
export function makeSigners(): readonly Signer[] {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ed = generateKeyPairSync('ed25519');
  const curves = { 256: 'P-256', 384: 'P-384', 512: 'P-521' } as const;
  const signers: Signer[] = [];
  const add = (alg: JwtAlgorithm, key: KeyObject, signature: (data: Buffer) => Buffer) =>
    signers.push({ alg, kid: `key-${alg}`, key, sign: (text) => signature(Buffer.from(text)) });
  for (const bits of [256, 384, 512] as const) {
    const hash = `sha${bits}`;
    const secret = createSecretKey(randomBytes(64));
    const ec = generateKeyPairSync('ec', { namedCurve: curves[bits] });
    add(`HS${bits}`, secret, (data) => createHmac(hash, secret).update(data).digest());
    add(`RS${bits}`, rsa.publicKey, (data) => sign(hash, data, rsa.privateKey));
    add(`PS${bits}`, rsa.publicKey, (data) => sign(hash, data, { key: rsa.privateKey, ...PSS }));
    add(`ES${bits}`, ec.publicKey, (data) => sign(hash, data, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }));
  }
  for (const alg of ['EdDSA', 'Ed25519'] as const) add(alg, ed.publicKey, (data) => sign(null, data, ed.privateKey));
  return signers;
}

const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

/** Whether the bytes are a signature by `key`, as `alg` says. */
export function isSignature(alg: string, key: KeyObject, text: string, signature: Buffer): boolean {
  const hash = `sha${alg.slice(2)}`;
  const data = Buffer.from(text);
  if (alg.startsWith('HS')) return createHmac(hash, key).update(data).digest().equals(signature);
  if (alg.startsWith('RS')) return verify(hash, data, key, signature);
  if (alg.startsWith('PS')) return verify(hash, data, { key, ...PSS }, signature);
  if (alg.startsWith('ES')) return verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature);
  return verify(null, data, key, signature);
}

/** Orders of the curves: with (r, s), (r, order − s) is a signature of the same text too. */
const ORDERS: Readonly<Record<string, bigint>> = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ES512:
    0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
};

/** The same token with the other signature that ECDSA has for it; `undefined` for algorithms that have one. */
export function complement(compact: string, alg: string): string | undefined {
  const order = ORDERS[alg];
  if (order === undefined) return undefined;
  const [header, claims, signature] = compact.split('.') as [string, string, string];
  const bytes = Buffer.from(signature, 'base64url');
  const half = bytes.length / 2;
  const s = order - BigInt(`0x${bytes.subarray(half).toString('hex')}`);
  const other = Buffer.concat([bytes.subarray(0, half), Buffer.from(s.toString(16).padStart(half * 2, '0'), 'hex')]);
  return `${header}.${claims}.${part(other)}`;
}
