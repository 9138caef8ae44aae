import { isUtf8 } from 'node:buffer';
import { hash as digest } from 'node:crypto';
import { type AuditEvent, canonicalJson, isJsonObject, type JsonObject, type JsonValue } from '@mcp-blocks/core';

/** One link of the chain, as it is stored. */
export interface AuditRecord {
  /** 1 for the first record, then one more each. */
  readonly seq: number;
  readonly event: AuditEvent;
  /** The hash of the record before; 64 zeros in the first. */
  readonly prev: string;
  /** SHA-256, in lower-case hex, of the canonical JSON (RFC 8785) of `{ event, prev, seq, v }`, in UTF-8. */
  readonly hash: string;
}

/** Where a trail ends: its last record. */
export interface TrailHead {
  readonly seq: number;
  readonly hash: string;
}

/** The head of a trail without records. */
export const EMPTY_HEAD: TrailHead = Object.freeze({ seq: 0, hash: '0'.repeat(64) });

/** The version of the record format, member `v`. */
const VERSION = 1;

/** The next record after `head`, as the one line of text that stands for it, and the head it makes. */
export function nextRecord(head: TrailHead, eventText: string): { readonly text: string; readonly head: TrailHead } {
  const seq = head.seq + 1;
  // Members in canonical order; the event's text is canonical already.
  const tail = `"prev":"${head.hash}","seq":${seq},"v":${VERSION}}`;
  const hash = sha256(`{"event":${eventText},${tail}`);
  return { text: `{"event":${eventText},"hash":"${hash}",${tail}`, head: { seq, hash } };
}

/** A record as the one line of text that it is stored as. */
export function recordText({ event, hash, prev, seq }: AuditRecord): string {
  return canonicalJson({ event: event as unknown as JsonObject, hash, prev, seq, v: VERSION });
}

/** What is wrong with a stored record, looked at alone. */
export interface RecordFault {
  readonly kind: 'malformed' | 'changed';
  readonly message: string;
}

/** Reads a stored record and checks it against its own hash. */
export function parseRecord(bytes: Uint8Array): AuditRecord | RecordFault {
  const record = parseShape(bytes);
  if (record === undefined) return { kind: 'malformed', message: 'it is not an audit record' };
  const { text, event, eventText, hash, prev, seq } = record;
  const tail = `"prev":"${prev}","seq":${seq},"v":${VERSION}}`;
  if (hash !== sha256(`{"event":${eventText},${tail}`)) return { kind: 'changed', message: 'its content does not match its hash' };
  // Catches what reading lets pass: white space, escapes, repeated members, invalid UTF-8.
  if (`{"event":${eventText},"hash":"${hash}",${tail}` !== text || !isUtf8(bytes)) {
    return { kind: 'changed', message: 'it is not written as it was' };
  }
  return { seq, event: event as unknown as AuditEvent, prev, hash };
}

/** False for bytes that are not the intact record `seq`, by their end alone: much cheaper than reading them. */
export function mayBe(seq: number, bytes: Uint8Array): boolean {
  const end = `"seq":${seq},"v":${VERSION}}`;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(-end.length).equals(Buffer.from(end));
}

/** Tells a fault from a record. */
export function isFault(parsed: AuditRecord | RecordFault): parsed is RecordFault {
  return 'kind' in parsed;
}

function parseShape(bytes: Uint8Array) {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value) || Object.keys(value).length !== 5) return undefined;
  const { event, hash, prev, seq, v } = value;
  if (!isJsonObject(event) || !isHash(hash) || !isHash(prev) || !isSeq(seq) || v !== VERSION) return undefined;
  try {
    return { text, event, eventText: canonicalJson(event), hash, prev, seq };
  } catch {
    // A damaged number can be one that JSON reads as infinite, which no record ever held.
    return undefined;
  }
}

/** The head as the text of a `.head` file: canonical JSON of `{ bytes, hash, seq }` and a line feed. */
export function headText(head: TrailHead, bytes: number): string {
  return `${canonicalJson({ bytes, hash: head.hash, seq: head.seq })}\n`;
}

/** Reads a `.head` file; `undefined` unless it is exactly what {@link headText} writes. */
export function parseHeadText(text: string): (TrailHead & { readonly bytes: number }) | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const { bytes, hash, seq } = value;
  if (!isHash(hash) || !Number.isSafeInteger(bytes) || !(seq === 0 || isSeq(seq))) return undefined;
  return headText({ seq, hash }, bytes as number) === text ? { seq, hash, bytes: bytes as number } : undefined;
}

function isHash(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function isSeq(value: JsonValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function sha256(text: string): string {
  return digest('sha256', text);
}
