import { isJsonObject, type JsonObject } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';

/** True for three dot-separated parts: the compact serialisation of RFC 7515. */
export function isJwtShaped(token: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token);
}

/** The parts of a token, read before its signature is verified. */
export interface CompactToken {
  readonly header: JsonObject;
  /** Who says to have issued it, for finding who can verify it and for nothing else. */
  readonly claimedIssuer: unknown;
  /** Not to be called before the signature is verified. */
  claims(): JsonObject;
}

/**
 * Takes a compact JWS apart, strictly: each part has one spelling, so that no two tokens mean the same.
 *
 * @throws RpcError `unauthenticated` unless each part is canonical base64url (RFC 7515 section 2; unused
 * bits zero) and header and payload are JSON objects that repeat no member (section 4).
 */
export function readCompactToken(token: string): CompactToken {
  const parts = token.split('.').map((part) => {
    const bytes = Buffer.from(part, 'base64url');
    if (bytes.toString('base64url') !== part) throw malformed();
    return bytes;
  });
  const claims = jsonObject(parts[1] as Buffer);
  return { header: jsonObject(parts[0] as Buffer), claimedIssuer: claims['iss'], claims: () => claims };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function jsonObject(bytes: Buffer): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw malformed(error);
  }
  // RFC 7519 section 4: what reads the last of two equal names and what reads the first must not differ.
  if (!isJsonObject(value) || repeatsMember(text)) throw malformed();
  return value;
}

/** Whether an object in this valid JSON text has two members of one name. */
function repeatsMember(json: string): boolean {
  const open: Set<string>[] = [];
  for (const [token, string, colon] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[[\]{}]/g)) {
    if (string === undefined) {
      if (token === '{' || token === '[') open.push(new Set());
      else open.pop();
    } else if (colon !== undefined) {
      const name = JSON.parse(string) as string;
      const names = open.at(-1) as Set<string>;
      if (names.has(name)) return true;
      names.add(name);
    }
  }
  return false;
}

function malformed(cause?: unknown) {
  return invalidToken('The token is malformed', 'malformed', cause);
}
