import {
  type CipherChaCha20Poly1305Types,
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type DecipherGCM,
  diffieHellman,
  generateKeyPairSync,
  hash,
  type KeyObject,
} from 'node:crypto';
import { isAllZero } from './keys.js';
import { type AeadKey, type DhKeyPair, type NoiseCipher, type NoiseCrypto, TAG_BYTES } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';

/** What stands before the 32 bytes of an X25519 key in PKCS #8 (RFC 5958 and RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

const CIPHER_NAMES = { AESGCM: 'aes-256-gcm', ChaChaPoly: 'chacha20-poly1305' } as const satisfies Record<
  NoiseCipher,
  CipherGCMTypes | CipherChaCha20Poly1305Types
>;
const CIPHER_OPTIONS = { authTagLength: TAG_BYTES };

/** The Noise primitives over `node:crypto`. */
export const nodeCrypto: NoiseCrypto = {
  generateKeyPair() {
    const { privateKey, publicKey } = generateKeyPairSync('x25519');
    return new NodeKeyPair(privateKey, publicKey);
  },
  keyPair(bytes) {
    const der = Buffer.concat([PKCS8_PREFIX, bytes]);
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    der.fill(0);
    return new NodeKeyPair(privateKey, createPublicKey(privateKey));
  },
  sha256: (data) => hash('sha256', data, 'buffer'),
  aead: (cipher, key) => new NodeAeadKey(CIPHER_NAMES[cipher], key),
  allocate: (length) => Buffer.allocUnsafe(length),
};

class NodeKeyPair implements DhKeyPair {
  readonly publicKey: Uint8Array;
  #privateKey: KeyObject | undefined;

  constructor(privateKey: KeyObject, publicKey: KeyObject) {
    this.#privateKey = privateKey;
    this.publicKey = new Uint8Array(Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url'));
  }

  dh(publicKey: Uint8Array): Uint8Array | undefined {
    if (this.#privateKey === undefined) throw new NoiseError('the key was destroyed');
    // As JWK (RFC 8037), which OpenSSL takes faster than DER.
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: Buffer.from(publicKey).toString('base64url') }, format: 'jwk' });
    try {
      const shared = diffieHellman({ privateKey: this.#privateKey, publicKey: key });
      return isAllZero(shared) ? undefined : shared;
    } catch {
      // OpenSSL refuses an all-zero result by itself.
      return undefined;
    }
  }

  destroy(): void {
    this.#privateKey = undefined;
  }
}

class NodeAeadKey implements AeadKey {
  readonly #cipher: 'aes-256-gcm';
  // Importing the key is three quarters of the cost of a small record, so it is done once. OpenSSL wipes it when it is freed.
  #key: KeyObject | undefined;

  constructor(cipher: 'aes-256-gcm' | 'chacha20-poly1305', key: Uint8Array) {
    // Node's types have an overload for each cipher; what is used of the two is the same.
    this.#cipher = cipher as 'aes-256-gcm';
    this.#key = createSecretKey(key);
  }

  encrypt(nonce: Uint8Array, ad: Uint8Array, buffer: Uint8Array, offset: number, length: number): void {
    if (this.#key === undefined) throw new NoiseError('the key was destroyed');
    const end = offset + length;
    const cipher: CipherGCM = createCipheriv(this.#cipher, this.#key, nonce, CIPHER_OPTIONS);
    if (ad.length > 0) cipher.setAAD(ad);
    if (length > 0) buffer.set(cipher.update(buffer.subarray(offset, end)), offset);
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
  }

  decrypt(nonce: Uint8Array, ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    if (this.#key === undefined) throw new NoiseError('the key was destroyed');
    const end = ciphertext.length - TAG_BYTES;
    if (end < 0) return undefined;
    const decipher: DecipherGCM = createDecipheriv(this.#cipher, this.#key, nonce, CIPHER_OPTIONS);
    decipher.setAuthTag(ciphertext.subarray(end));
    if (ad.length > 0) decipher.setAAD(ad);
    const plaintext = decipher.update(ciphertext.subarray(0, end));
    try {
      decipher.final();
      return plaintext;
    } catch {
      plaintext.fill(0);
      return undefined;
    }
  }

  destroy(): void {
    this.#key = undefined;
  }
}
