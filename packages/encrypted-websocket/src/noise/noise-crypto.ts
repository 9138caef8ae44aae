/** Ciphers of the supported Noise protocols, by their Noise names (revision 34, section 12). */
export type NoiseCipher = 'AESGCM' | 'ChaChaPoly';

/** Bytes of a Curve25519 key and of what a DH makes of two. */
export const KEY_BYTES = 32;

/** Bytes of an authentication tag. */
export const TAG_BYTES = 16;

/** Bytes of a hash (SHA-256). */
export const HASH_BYTES = 32;

/** A key of an AEAD. Nonces are the 12 bytes the cipher takes; they are copied, so the caller may reuse them. */
export interface AeadKey {
  /**
   * Encrypts `buffer[offset, offset + length)` where it stands; the tag is written into the 16 bytes after it.
   * No plaintext is left in `buffer`.
   */
  encrypt(nonce: Uint8Array, ad: Uint8Array, buffer: Uint8Array, offset: number, length: number): void;
  /** What was encrypted, in memory of its own; undefined if the tag is not the one of key, nonce, `ad` and text. */
  decrypt(nonce: Uint8Array, ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined;
  /** Forgets the key. Using it afterwards throws. */
  destroy(): void;
}

/** A Curve25519 key pair whose private half stays inside. */
export interface DhKeyPair {
  readonly publicKey: Uint8Array;
  /** X25519 (RFC 7748). Undefined if the result is all zero, as a public key of low order makes it. */
  dh(publicKey: Uint8Array): Uint8Array | undefined;
  /** Forgets the private key. */
  destroy(): void;
}

/** What Noise needs of a cryptographic library: X25519, SHA-256 and two ciphers. */
export interface NoiseCrypto {
  /** A new key pair of random bytes. */
  generateKeyPair(): DhKeyPair;
  /** `privateKey` is 32 bytes; the caller may overwrite it afterwards. */
  keyPair(privateKey: Uint8Array): DhKeyPair;
  sha256(data: Uint8Array): Uint8Array;
  /** `key` is 32 bytes; the caller may overwrite it afterwards. */
  aead(cipher: NoiseCipher, key: Uint8Array): AeadKey;
  /** Memory that the caller overwrites entirely; it need not be zero. */
  allocate(length: number): Uint8Array;
}
