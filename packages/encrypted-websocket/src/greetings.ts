import { isJsonObject, type JsonObject } from '@mcp-blocks/core';
import { SESSION_ID } from './subprotocols.js';

/** Bytes of the largest hello that is read, which anyone may send. */
const MAX_HELLO_BYTES = 16_384;
const MAX_HEADERS = 32;

/** A header's name and value (RFC 9110, section 5), the name in lower case. */
const HEADER_NAME = /^[\da-z!#$%&'*+.^_`|~-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e]*$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * The client's first message inside a Noise channel: the headers that say who it is, where a proxy cannot read them.
 *
 * @throws TypeError for a header that HTTP has no way to send, RangeError for more than a server reads; without its value.
 */
export function encodeHello(headers: Readonly<Record<string, string>>): Uint8Array {
  const sent: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (!HEADER_NAME.test(lower) || !HEADER_VALUE.test(value)) throw new TypeError(`The header ${name} holds what no header can`);
    sent[lower] = value;
  }
  const bytes = encoder.encode(JSON.stringify({ headers: sent }));
  if (bytes.byteLength > MAX_HELLO_BYTES || Object.keys(sent).length > MAX_HEADERS) throw new RangeError('The headers are too long');
  return bytes;
}

/** The headers of a hello; `undefined` for what is none. */
export function decodeHello(bytes: Uint8Array): ReadonlyMap<string, string> | undefined {
  if (bytes.byteLength > MAX_HELLO_BYTES) return undefined;
  const headers = decodeObject(bytes)?.headers;
  if (!isJsonObject(headers)) return undefined;
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) return undefined;
  const valid = entries.every(([name, value]) => HEADER_NAME.test(name) && typeof value === 'string' && HEADER_VALUE.test(value));
  return valid ? new Map(entries as [string, string][]) : undefined;
}

/** The server's answer to a hello: it knows the client now. */
export interface Welcome {
  /** The server's name for the connection. */
  readonly sessionId?: string;
  /** Bytes of the largest message the server reads. Inside Noise it cannot say so later, by a close code of WebSocket's own. */
  readonly maxMessageBytes?: number;
}

export function encodeWelcome(welcome: Required<Welcome>): Uint8Array {
  return encoder.encode(JSON.stringify(welcome));
}

/** What a welcome tells, as far as it is understood. */
export function decodeWelcome(bytes: Uint8Array): Welcome {
  const { sessionId, maxMessageBytes } = decodeObject(bytes) ?? {};
  return {
    ...(typeof sessionId === 'string' && SESSION_ID.test(sessionId) ? { sessionId } : {}),
    ...(typeof maxMessageBytes === 'number' && maxMessageBytes > 0 ? { maxMessageBytes } : {}),
  };
}

function decodeObject(bytes: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
