import { TAG_BYTES } from './noise-crypto.js';

/** Bytes of the largest Noise message (revision 34, section 3). */
export const MAX_RECORD_BYTES = 65_535;

/** Bytes that a record adds to what it carries: its type and the tag. */
export const RECORD_OVERHEAD_BYTES = 1 + TAG_BYTES;

/** What fits into one record. */
export const MAX_CONTENT_BYTES = MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES;

/** The first byte of a record's plaintext. */
export const RECORD_TYPES = {
  /** Part of a message whose rest is in the next record of the same frame. */
  more: 0,
  /** A message, or its last part. */
  message: 1,
  /** As `message`; the sender's key changes after it. */
  messageThenRekey: 2,
  /** Nothing, but that the sender's key changes after it. */
  rekey: 3,
  /** The client's first record. */
  hello: 4,
  /** The server's first record. */
  welcome: 5,
  /** The sender's last record: close code and reason. */
  close: 6,
} as const;

/** Bytes of a frame that carries a message of `messageBytes`. */
export function frameBytesOf(messageBytes: number): number {
  return messageBytes + recordsOf(messageBytes) * RECORD_OVERHEAD_BYTES;
}

/** Records that a message of `messageBytes` takes. */
export function recordsOf(messageBytes: number): number {
  return Math.max(1, Math.ceil(messageBytes / MAX_CONTENT_BYTES));
}

/** Why a channel is ended, in the terms of RFC 6455, section 7.4. */
export interface NoiseClose {
  /** From 1000 to 4999. */
  readonly code: number;
  /** At most 123 bytes of UTF-8. */
  readonly reason: string;
}

const MAX_REASON_BYTES = 123;

/** As in a WebSocket close frame (RFC 6455, section 5.5.1): the code in two bytes, then the reason. */
export function encodeClose({ code, reason }: NoiseClose): Uint8Array {
  const text = new TextEncoder().encode(reason);
  if (!isCloseCode(code)) throw new RangeError(`close code: expected an integer from 1000 to 4999, got ${code}`);
  if (text.length > MAX_REASON_BYTES) {
    throw new RangeError(`close reason: expected at most ${MAX_REASON_BYTES} bytes of UTF-8, got ${text.length}`);
  }
  const bytes = new Uint8Array(2 + text.length);
  bytes[0] = code >> 8;
  bytes[1] = code & 0xff;
  bytes.set(text, 2);
  return bytes;
}

/** Undefined if the bytes are no code and reason. */
export function decodeClose(bytes: Uint8Array): NoiseClose | undefined {
  const code = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  if (!isCloseCode(code) || bytes.length > 2 + MAX_REASON_BYTES) return undefined;
  try {
    return { code, reason: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(2)) };
  } catch {
    return undefined;
  }
}

function isCloseCode(code: number): boolean {
  return Number.isInteger(code) && code >= 1000 && code <= 4999;
}
