import { ConfigurationError } from '@mcp-blocks/core';
import { KEY_BYTES, type NoiseCrypto } from './noise-crypto.js';

/** A static Curve25519 key pair: each half is 32 bytes, in base64url without padding (43 characters). */
export interface NoiseKeyPair {
  /** What peers are told, and what the owner is known by. */
  readonly publicKey: string;
  /** Secret. Whoever has it is the owner. */
  readonly privateKey: string;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** A new key pair. */
export function newNoiseKeyPair(crypto: NoiseCrypto): NoiseKeyPair {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const pair = crypto.keyPair(bytes);
  const made = { publicKey: encodeKey(pair.publicKey), privateKey: encodeKey(bytes) };
  bytes.fill(0);
  pair.destroy();
  return made;
}

/** The public half of a private key. @throws ConfigurationError naming `option` if it is no key; the value is not shown. */
export function noisePublicKeyOf(option: string, privateKey: string, crypto: NoiseCrypto): string {
  const bytes = decodeKey(option, privateKey);
  const pair = crypto.keyPair(bytes);
  bytes.fill(0);
  pair.destroy();
  return encodeKey(pair.publicKey);
}

/** Bytes of a key as base64url without padding. */
export function encodeKey(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const group = (a << 16) | (b << 8) | c;
    for (let shift = 18; shift >= 0; shift -= 6) text += ALPHABET[(group >> shift) & 63];
  }
  return text.slice(0, Math.ceil((bytes.length * 8) / 6));
}

/**
 * The 32 bytes of a key.
 *
 * @throws ConfigurationError naming `option`. What was given is not shown: a private key may have been put
 *   where a public one belongs.
 */
export function decodeKey(option: string, text: unknown): Uint8Array {
  const expected = 'expected a Curve25519 key: 32 bytes in base64url without padding (43 characters)';
  if (typeof text !== 'string') throw new ConfigurationError(option, `${expected}, got ${text === null ? 'null' : typeof text}`);
  if (text.length !== 43) throw new ConfigurationError(option, `${expected}, got ${text.length} characters`);
  const bytes = new Uint8Array(KEY_BYTES);
  let bits = 0;
  for (let at = 0; at < text.length; at += 1) {
    const value = ALPHABET.indexOf(text[at] as string);
    if (value < 0) throw new ConfigurationError(option, `${expected}, got a character that is not base64url at position ${at}`);
    bits = ((bits << 6) | value) & 0xfff;
    const byte = ((at + 1) * 6) >> 3;
    const spare = ((at + 1) * 6) & 7;
    if (spare < 6) bytes[byte - 1] = (bits >> spare) & 0xff;
  }
  // 43 characters hold 258 bits: the last two are to be zero, so that a key has one spelling.
  if ((bits & 3) !== 0) throw new ConfigurationError(option, `${expected}, got 258 bits of which the last two are not zero`);
  return bytes;
}

/** In a time that does not depend on the bytes. */
export function isAllZero(bytes: Uint8Array): boolean {
  let seen = 0;
  for (const byte of bytes) seen |= byte;
  return seen === 0;
}
