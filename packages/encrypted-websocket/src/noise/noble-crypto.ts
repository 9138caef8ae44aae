import { gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { isAllZero } from './keys.js';
import { type AeadKey, type DhKeyPair, type NoiseCipher, type NoiseCrypto, TAG_BYTES } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';

/** The Noise primitives in JavaScript alone, for browsers and wherever else `node:crypto` is missing. */
export const nobleCrypto: NoiseCrypto = {
  generateKeyPair: () => new NobleKeyPair(x25519.utils.randomSecretKey()),
  keyPair: (privateKey) => new NobleKeyPair(new Uint8Array(privateKey)),
  sha256: (data) => sha256(data),
  aead: (cipher, key) => new NobleAeadKey(cipher, key),
  allocate: (length) => new Uint8Array(length),
};

class NobleKeyPair implements DhKeyPair {
  readonly publicKey: Uint8Array;
  #privateKey: Uint8Array | undefined;

  /** The private key becomes the pair's. */
  constructor(privateKey: Uint8Array) {
    this.#privateKey = privateKey;
    this.publicKey = x25519.getPublicKey(privateKey);
  }

  dh(publicKey: Uint8Array): Uint8Array | undefined {
    if (this.#privateKey === undefined) throw new NoiseError('the key was destroyed');
    try {
      const shared = x25519.getSharedSecret(this.#privateKey, publicKey);
      return isAllZero(shared) ? undefined : shared;
    } catch {
      // The library refuses points of low order by itself.
      return undefined;
    }
  }

  destroy(): void {
    this.#privateKey?.fill(0);
    this.#privateKey = undefined;
  }
}

class NobleAeadKey implements AeadKey {
  readonly #cipher: typeof gcm | typeof chacha20poly1305;
  #key: Uint8Array | undefined;

  constructor(cipher: NoiseCipher, key: Uint8Array) {
    this.#cipher = cipher === 'AESGCM' ? gcm : chacha20poly1305;
    this.#key = new Uint8Array(key);
  }

  encrypt(nonce: Uint8Array, ad: Uint8Array, buffer: Uint8Array, offset: number, length: number): void {
    if (this.#key === undefined) throw new NoiseError('the key was destroyed');
    buffer.set(this.#cipher(this.#key, nonce, ad).encrypt(buffer.subarray(offset, offset + length)), offset);
  }

  decrypt(nonce: Uint8Array, ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    if (this.#key === undefined) throw new NoiseError('the key was destroyed');
    if (ciphertext.length < TAG_BYTES) return undefined;
    try {
      return this.#cipher(this.#key, nonce, ad).decrypt(ciphertext);
    } catch {
      // All that is left to go wrong is the tag.
      return undefined;
    }
  }

  destroy(): void {
    this.#key?.fill(0);
    this.#key = undefined;
  }
}
