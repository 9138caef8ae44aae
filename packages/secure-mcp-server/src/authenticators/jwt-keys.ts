import { createPublicKey, createSecretKey, KeyObject } from 'node:crypto';
import { ConfigurationError } from '@mcp-blocks/core';
import { ALGORITHMS, describeKey, fits, type JwtAlgorithm, sizeProblem } from './jwt-algorithms.js';

/** A shared secret (HS*), or a public key as PEM or `KeyObject` (RS*, PS*, ES*, EdDSA). */
export type JwtKey = string | Buffer | KeyObject;

/** A key with the name that tokens call it by. */
export interface NamedJwtKey {
  /** `kid` in the header of tokens. */
  readonly kid: string;
  readonly key: JwtKey;
}

/** A key that signatures are verified with, and nothing but the algorithms it may be used for. */
export interface VerificationKey {
  /** Absent: the key is taken whatever a token calls its key. */
  readonly kid?: string;
  readonly key: KeyObject;
  readonly algorithms: readonly JwtAlgorithm[];
}

/** Where the keys of an issuer come from. */
export interface KeySource {
  /**
   * The one key for a token, by the `kid` and `alg` of its header; `undefined` when there is none.
   * @throws RpcError `unavailable` when the keys cannot be had.
   */
  find(kid: string | undefined, algorithm: JwtAlgorithm): Promise<VerificationKey | undefined>;
}

/**
 * Picks the key: by name where the token names one, and only where exactly one fits, so that a token
 * cannot make the server try key after key.
 */
export function chooseKey(keys: readonly VerificationKey[], kid: string | undefined, algorithm: JwtAlgorithm): VerificationKey | undefined {
  const usable = keys.filter((key) => key.algorithms.includes(algorithm));
  const named = kid === undefined ? usable : usable.filter((key) => key.kid === kid);
  const fitting = named.length > 0 ? named : usable.filter((key) => key.kid === undefined);
  return fitting.length === 1 ? fitting[0] : undefined;
}

/** @throws ConfigurationError for an empty list or an algorithm not supported. */
export function checkAlgorithms(algorithms: readonly JwtAlgorithm[]): void {
  if (!Array.isArray(algorithms) || algorithms.length === 0)
    throw new ConfigurationError('jwt.algorithms', 'expected at least one algorithm');
  for (const [index, algorithm] of algorithms.entries()) {
    if (!ALGORITHMS.includes(algorithm)) {
      throw new ConfigurationError(`jwt.algorithms[${index}]`, `expected one of ${ALGORITHMS.join(', ')}, got '${algorithm}'`);
    }
  }
}

/** A source of keys from the configuration. @throws ConfigurationError for keys that do not go with the algorithms. */
export function localKeys(
  given: { readonly key: JwtKey } | { readonly keys: readonly NamedJwtKey[] },
  algorithms: readonly JwtAlgorithm[],
): KeySource {
  const keys = 'key' in given ? [verificationKey('jwt.key', given.key, algorithms)] : namedKeys(given.keys, algorithms);
  for (const [index, algorithm] of algorithms.entries()) {
    if (keys.some((key) => key.algorithms.includes(algorithm))) continue;
    const described = keys.map(({ key }) => describeKey(key)).join(', ');
    throw new ConfigurationError(`jwt.algorithms[${index}]`, `'${algorithm}' does not belong to the key, ${described}`);
  }
  return { find: async (kid, algorithm) => chooseKey(keys, kid, algorithm) };
}

function namedKeys(keys: readonly NamedJwtKey[], algorithms: readonly JwtAlgorithm[]): readonly VerificationKey[] {
  if (!Array.isArray(keys) || keys.length === 0) throw new ConfigurationError('jwt.keys', 'expected at least one key');
  const names = new Set<string>();
  return keys.map(({ kid, key }: NamedJwtKey, index) => {
    const option = `jwt.keys[${index}]`;
    if (typeof kid !== 'string' || kid === '') throw new ConfigurationError(`${option}.kid`, 'expected a non-empty string');
    if (names.has(kid)) throw new ConfigurationError(`${option}.kid`, `'${kid}' is used twice`);
    names.add(kid);
    const verification = verificationKey(`${option}.key`, key, algorithms);
    if (verification.algorithms.length === 0) {
      throw new ConfigurationError(
        `${option}.key`,
        `${describeKey(verification.key)} is for none of the algorithms ${algorithms.join(', ')}`,
      );
    }
    return { kid, ...verification };
  });
}

function verificationKey(option: string, given: JwtKey, algorithms: readonly JwtAlgorithm[]): VerificationKey {
  const key = keyObject(option, given);
  const fitting = algorithms.filter((algorithm) => fits(key, algorithm));
  for (const algorithm of fitting) {
    const problem = sizeProblem(key, algorithm);
    if (problem !== undefined) throw new ConfigurationError(option, `expected ${problem}`);
  }
  return { key, algorithms: fitting };
}

function keyObject(option: string, key: JwtKey): KeyObject {
  try {
    if (key instanceof KeyObject) return key.type === 'private' ? createPublicKey(key) : key;
    const bytes = Buffer.from(key as Buffer);
    // A PEM must never end up as an HMAC secret.
    return bytes.toString().trimStart().startsWith('-----BEGIN') ? createPublicKey(bytes) : createSecretKey(bytes);
  } catch {
    // The cause could quote the key.
    throw new ConfigurationError(option, 'expected a shared secret, or a public key as PEM or KeyObject');
  }
}
