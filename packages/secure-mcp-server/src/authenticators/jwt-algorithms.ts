import type { KeyObject } from 'node:crypto';

/** Signature algorithms of RFC 7518, RFC 8037 and RFC 9864 that `jwt()` verifies. `EdDSA` and `Ed25519` are one algorithm under two names. */
export type JwtAlgorithm = (typeof ALGORITHMS)[number];

export const ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

const CURVES: Readonly<Record<string, JwtAlgorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

/** Smallest RSA modulus (RFC 7518 section 3.3). */
const MIN_RSA_BITS = 2048;

/** Whether the key is of the one kind that the algorithm is for. Everything that prevents algorithm confusion rests on this. */
export function fits(key: KeyObject, algorithm: JwtAlgorithm): boolean {
  if (key.type === 'secret') return algorithm.startsWith('HS');
  if (key.type !== 'public') return false;
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return algorithm.startsWith('RS') || algorithm.startsWith('PS');
    case 'rsa-pss':
      return algorithm.startsWith('PS');
    case 'ec':
      return CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] === algorithm;
    case 'ed25519':
      return algorithm === 'EdDSA' || algorithm === 'Ed25519';
    default:
      return false;
  }
}

/** What is wrong with the key's size for the algorithm, in words that follow "expected"; `undefined` when nothing is. */
export function sizeProblem(key: KeyObject, algorithm: JwtAlgorithm): string | undefined {
  if (key.type === 'secret') {
    // RFC 7518 section 3.2: a key of at least the size of the hash.
    const minBytes = Number(algorithm.slice(2)) / 8;
    return (key.symmetricKeySize ?? 0) < minBytes ? `a secret of at least ${minBytes} bytes for ${algorithm}` : undefined;
  }
  const bits = key.asymmetricKeyDetails?.modulusLength;
  return bits !== undefined && bits < MIN_RSA_BITS ? `an RSA key of at least ${MIN_RSA_BITS} bits` : undefined;
}

/** A key in words that give nothing of it away. */
export function describeKey(key: KeyObject): string {
  return key.type === 'secret' ? 'a shared secret' : `a public key of type ${key.asymmetricKeyType}`;
}
