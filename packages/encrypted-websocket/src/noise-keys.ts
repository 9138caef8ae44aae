import { type NoiseKeyPair, newNoiseKeyPair, noisePublicKeyOf } from './noise/keys.js';
import { nodeCrypto } from './noise/node-crypto.js';

/** A new static key pair for Noise: the private half is for the option `noise.privateKey`, the public one for peers. */
export function generateNoiseKeys(): NoiseKeyPair {
  return newNoiseKeyPair(nodeCrypto);
}

/**
 * The public half of a private key of {@link generateNoiseKeys}.
 *
 * @throws ConfigurationError for what is none; it is not shown.
 */
export function noisePublicKey(privateKey: string): string {
  return noisePublicKeyOf('privateKey', privateKey, nodeCrypto);
}
