import { CipherState } from './cipher-state.js';
import { HASH_BYTES, type NoiseCrypto, TAG_BYTES } from './noise-crypto.js';
import type { NoiseProtocol } from './protocol-name.js';

const EMPTY = new Uint8Array(0);

/** Bytes of a block of SHA-256. */
const HASH_BLOCK_BYTES = 64;

/** The chaining key, the hash of everything said, and the key made of them (Noise revision 34, section 5.2). */
export class SymmetricState {
  readonly #crypto: NoiseCrypto;
  readonly #protocol: NoiseProtocol;
  #chainingKey: Uint8Array;
  #hash: Uint8Array;
  #cipher: CipherState | undefined;

  constructor(crypto: NoiseCrypto, protocol: NoiseProtocol) {
    this.#crypto = crypto;
    this.#protocol = protocol;
    const name = new TextEncoder().encode(protocol.name);
    this.#hash = new Uint8Array(HASH_BYTES);
    if (name.length <= HASH_BYTES) this.#hash.set(name);
    else this.#hash = crypto.sha256(name);
    this.#chainingKey = new Uint8Array(this.#hash);
  }

  /** h: the hash of everything said so far. Not secret. */
  get handshakeHash(): Uint8Array {
    return new Uint8Array(this.#hash);
  }

  mixHash(data: Uint8Array): void {
    this.#hash = this.#crypto.sha256(concat(this.#hash, data));
  }

  /** MixKey(). Overwrites `secret`. */
  mixKey(secret: Uint8Array): void {
    const [chainingKey, key] = this.#hkdf(secret);
    secret.fill(0);
    this.#chainingKey.fill(0);
    this.#chainingKey = chainingKey;
    this.#cipher?.destroy();
    this.#cipher = new CipherState(this.#crypto, this.#protocol.cipher, key);
    key.fill(0);
  }

  /** EncryptAndHash() */
  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    let sent = plaintext;
    if (this.#cipher !== undefined) {
      sent = new Uint8Array(plaintext.length + TAG_BYTES);
      sent.set(plaintext);
      this.#cipher.encrypt(this.#hash, sent, 0, plaintext.length);
    }
    this.mixHash(sent);
    return sent;
  }

  /** DecryptAndHash(). Undefined if it does not decrypt. */
  decryptAndHash(received: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#cipher === undefined ? received : this.#cipher.decrypt(this.#hash, received);
    if (plaintext !== undefined) this.mixHash(received);
    return plaintext;
  }

  /** Bytes that encryption adds at present. */
  get tagBytes(): number {
    return this.#cipher === undefined ? 0 : TAG_BYTES;
  }

  /** Split(): the states for what the initiator sends and for what the responder sends. The handshake's keys are forgotten. */
  split(): [CipherState, CipherState] {
    const [first, second] = this.#hkdf(EMPTY);
    const states: [CipherState, CipherState] = [
      new CipherState(this.#crypto, this.#protocol.cipher, first),
      new CipherState(this.#crypto, this.#protocol.cipher, second),
    ];
    first.fill(0);
    second.fill(0);
    this.destroy();
    return states;
  }

  /** Forgets all keys. */
  destroy(): void {
    this.#chainingKey.fill(0);
    this.#cipher?.destroy();
    this.#cipher = undefined;
  }

  /** HKDF() with two outputs (section 4.3). */
  #hkdf(input: Uint8Array): [Uint8Array, Uint8Array] {
    const temporary = this.#hmac(this.#chainingKey, input);
    const first = this.#hmac(temporary, Uint8Array.of(1));
    const second = this.#hmac(temporary, concat(first, Uint8Array.of(2)));
    temporary.fill(0);
    return [first, second];
  }

  /**
   * HMAC-SHA-256 (RFC 2104) with a key of 32 bytes. Out of the one-shot hash it takes a sixth of what
   * `createHmac` does, and a handshake needs a dozen.
   */
  #hmac(key: Uint8Array, data: Uint8Array): Uint8Array {
    const inner = new Uint8Array(HASH_BLOCK_BYTES + data.length).fill(0x36, 0, HASH_BLOCK_BYTES);
    const outer = new Uint8Array(HASH_BLOCK_BYTES + HASH_BYTES).fill(0x5c, 0, HASH_BLOCK_BYTES);
    for (const [at, byte] of key.entries()) {
      inner[at] = byte ^ 0x36;
      outer[at] = byte ^ 0x5c;
    }
    inner.set(data, HASH_BLOCK_BYTES);
    const digest = this.#crypto.sha256(inner);
    outer.set(digest, HASH_BLOCK_BYTES);
    const code = this.#crypto.sha256(outer);
    for (const secret of [inner, outer, digest]) secret.fill(0);
    return code;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
