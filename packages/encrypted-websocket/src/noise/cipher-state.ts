import { type AeadKey, KEY_BYTES, type NoiseCipher, type NoiseCrypto, TAG_BYTES } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';

const NONCE_BYTES = 12;
const EMPTY = new Uint8Array(0);

/**
 * A key and the number of messages it has seen (Noise revision 34, section 5.1). Numbers go to 2^53, not to
 * 2^64: at a million messages a second that is 285 years.
 */
export class CipherState {
  readonly #crypto: NoiseCrypto;
  readonly #cipher: NoiseCipher;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  #key: AeadKey;
  #next = 0;

  /** `key` is copied; the caller overwrites its own. */
  constructor(crypto: NoiseCrypto, cipher: NoiseCipher, key: Uint8Array) {
    this.#crypto = crypto;
    this.#cipher = cipher;
    this.#key = crypto.aead(cipher, key);
  }

  /** EncryptWithAd() on `buffer[offset, offset + length)`, in place; the tag goes into the 16 bytes after it. */
  encrypt(ad: Uint8Array, buffer: Uint8Array, offset: number, length: number): void {
    this.#key.encrypt(this.#takeNonce(), ad, buffer, offset, length);
    this.#next += 1;
  }

  /** DecryptWithAd(). Undefined if the message is not the expected one; its number is then still to come. */
  decrypt(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#key.decrypt(this.#takeNonce(), ad, ciphertext);
    if (plaintext !== undefined) this.#next += 1;
    return plaintext;
  }

  /**
   * Rekey() (sections 4.2 and 11.3): the key becomes the first 32 bytes of what it makes of 32 zeros with the
   * nonce 2^64 − 1. There is no way back to the old one. Numbers go on.
   */
  rekey(): void {
    const bytes = new Uint8Array(KEY_BYTES + TAG_BYTES);
    this.#nonce.fill(0, 0, 4);
    this.#nonce.fill(0xff, 4);
    this.#key.encrypt(this.#nonce, EMPTY, bytes, 0, KEY_BYTES);
    this.#key.destroy();
    this.#key = this.#crypto.aead(this.#cipher, bytes.subarray(0, KEY_BYTES));
    bytes.fill(0);
  }

  /** Forgets the key. */
  destroy(): void {
    this.#key.destroy();
  }

  /** 4 zero bytes, then the number in 8: big-endian for AESGCM, little-endian for ChaChaPoly (sections 12.3 and 12.4). */
  #takeNonce(): Uint8Array {
    if (this.#next >= Number.MAX_SAFE_INTEGER) throw new NoiseError('the channel has used all its nonces');
    const high = Math.floor(this.#next / 2 ** 32);
    const low = this.#next >>> 0;
    const isLittleEndian = this.#cipher === 'ChaChaPoly';
    this.#nonceView.setUint32(0, 0);
    this.#nonceView.setUint32(4, isLittleEndian ? low : high, isLittleEndian);
    this.#nonceView.setUint32(8, isLittleEndian ? high : low, isLittleEndian);
    return this.#nonce;
  }
}
