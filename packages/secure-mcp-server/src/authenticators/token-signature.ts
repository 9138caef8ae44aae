import { compactVerify } from 'jose';
import jsonwebtoken from 'jsonwebtoken';
import type { JwtAlgorithm } from './jwt-algorithms.js';
import type { VerificationKey } from './jwt-keys.js';

/** Whether `key` signed the token with exactly this algorithm. Nothing in the token but its bytes has a say. */
export async function isSignedBy(token: string, { key, algorithms }: VerificationKey, algorithm: JwtAlgorithm): Promise<boolean> {
  if (!algorithms.includes(algorithm)) return false;
  try {
    if (algorithm === 'EdDSA' || algorithm === 'Ed25519') {
      // jsonwebtoken has no Edwards curves.
      await compactVerify(token, key, { algorithms: [algorithm] });
    } else {
      // Times are checked with the other claims.
      jsonwebtoken.verify(token, key, { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true });
    }
    return true;
  } catch {
    return false;
  }
}
