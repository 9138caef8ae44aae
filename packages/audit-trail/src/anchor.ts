import { createHmac, timingSafeEqual } from 'node:crypto';
import { ConfigurationError, canonicalJson, isJsonObject, type JsonObject } from '@mcp-blocks/core';
import type { TrailHead } from './record.js';

/** What stands for the records that were pruned from the beginning of a trail. */
export interface TrailAnchor extends TrailHead {
  /** How many records the last pruning took; `seq` is how many are gone altogether. */
  readonly count: number;
  /** When, in epoch milliseconds. */
  readonly time: number;
  /** HMAC-SHA256, in lower-case hex, of the canonical JSON of the other members, where a key was given. */
  readonly mac?: string;
}

/** An anchor as it is stored: canonical JSON. */
export function anchorText({ count, hash, mac, seq, time }: TrailAnchor): string {
  return canonicalJson({ count, hash, seq, time, ...(mac === undefined ? {} : { mac }) });
}

/** Reads a stored anchor; `undefined` unless it is exactly what {@link anchorText} writes. */
export function parseAnchor(text: string): TrailAnchor | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const { count, hash, mac, seq, time } = value as JsonObject & { mac?: string };
  const usable =
    [count, seq, time].every((number) => Number.isSafeInteger(number) && (number as number) >= 0) &&
    [hash, mac ?? hash].every((hex) => typeof hex === 'string' && /^[0-9a-f]{64}$/.test(hex));
  const anchor = value as unknown as TrailAnchor;
  return usable && anchor.seq > 0 && anchorText(anchor) === text ? anchor : undefined;
}

export function signed(anchor: Omit<TrailAnchor, 'mac'>, key: string | undefined): TrailAnchor {
  return key === undefined ? anchor : { ...anchor, mac: macOf(anchor, key) };
}

/** True when the anchor was signed with this key. */
export function isSignedWith({ mac, ...anchor }: TrailAnchor, key: string): boolean {
  return mac !== undefined && timingSafeEqual(Buffer.from(mac, 'hex'), Buffer.from(macOf(anchor, key), 'hex'));
}

/** @throws ConfigurationError for a key that is none. */
export function checkAnchorKey(key: string | undefined): void {
  if (key !== undefined && (typeof key !== 'string' || key.length < 16)) {
    throw new ConfigurationError('anchorKey', 'expected at least 16 characters');
  }
}

function macOf({ count, hash, seq, time }: Omit<TrailAnchor, 'mac'>, key: string): string {
  return createHmac('sha256', key).update(canonicalJson({ count, hash, seq, time })).digest('hex');
}
