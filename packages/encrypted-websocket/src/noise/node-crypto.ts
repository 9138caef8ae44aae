import {
  type CipherChaCha20Poly1305Types,
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type DecipherGCM,
  diffieHellman,
  hash,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { isAllZero } from './keys.js';
import { type AeadKey, type DhKeyPair, KEY_BYTES, type NoiseCipher, type NoiseCrypto, TAG_BYTES } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';

/** RFC 8410 and RFC 5958: what stands before the 32 bytes of an X25519 key in PKCS #8 and in SubjectPublicKeyInfo. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

const CIPHER_NAMES = { AESGCM: 'aes-256-gcm', ChaChaPoly: 'chacha20-poly1305' } as const satisfies Record<
  NoiseCipher,
  CipherGCMTypes | CipherChaCha20Poly1305Types
>;
const CIPHER_OPTIONS = { authTagLength: TAG_BYTES };

/** The Noise primitives over `node:crypto`. */
export const nodeCrypto: NoiseCrypto = {
  keyPair: (privateKey) => new NodeKeyPair(privateKey),
  randomBytes: (length) => randomBytes(length),
  sha256: (data) => hash('sha256', data, 'buffer'),
  hmacSha256: (key, data) => createHmac('sha256', key).update(data).digest(),
  aead: (cipher, key) => new NodeAeadKey(CIPHER_NAMES[cipher], key),
  allocate: (length) => Buffer.allocUnsafe(length),
};

class NodeKeyPair implements DhKeyPair {
  readonly publicKey: Uint8Array;
  #privateKey: KeyObject | undefined;

  constructor(privateKey: Uint8Array) {
    const der = Buffer.concat([PKCS8_PREFIX, privateKey]);
    this.#privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    der.fill(0);
    this.publicKey = new Uint8Array(createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES));
  }

  dh(publicKey: Uint8Array): Uint8Array | undefined {
    if (this.#privateKey === undefined) throw new NoiseError('the key was destroyed');
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
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
