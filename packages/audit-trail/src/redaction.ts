import { createHmac } from 'node:crypto';
import { type AuditEvent, type AuditSink, ConfigurationError, type JsonObject, type JsonValue } from '@mcp-blocks/core';

/** What an audit event may not say. */
export interface RedactionRules {
  /**
   * Further member names whose values are credentials, beside the built-in ones. Compared as the built-in
   * ones are: without case, `-`, `_`, dots and spaces, and anywhere in the name (`pin` also hits `pinCode`).
   */
  readonly keys?: readonly string[];
  /**
   * Places in `details`, member names joined by dots, `*` for any one member or index:
   * `arguments.patient`, `items.*.price`. What is there is redacted whatever it is called.
   */
  readonly paths?: readonly string[];
  /**
   * `mask` puts `[redacted]` in place of the value, `drop` leaves the member out, `hash` puts
   * `hmac-sha256:` and 16 bytes in hex of the value's HMAC, so that equal values can be recognised. Default: `mask`.
   */
  readonly mode?: 'mask' | 'drop' | 'hash';
  /** The key of `hash`, at least 16 characters. Needed then: without one, short secrets could be guessed from their hash. */
  readonly hashKey?: string;
  /** Longest string kept whole, in UTF-16 code units, from 1. Default: 1,024. */
  readonly maxStringLength?: number;
  /** Deepest object or list within `details`, from 1 to 64. Default: 8. */
  readonly maxDepth?: number;
  /** Most members of one object or items of one list, from 1. Default: 128. */
  readonly maxMembers?: number;
}

const CREDENTIAL_KEYS = [
  ...['authorization', 'password', 'passwd', 'passphrase', 'pwd', 'secret', 'token', 'jwt', 'bearer', 'apikey', 'accesskey', 'privatekey'],
  ...['signingkey', 'encryptionkey', 'credential', 'cookie', 'sessionkey', 'clientassertion', 'connectionstring', 'requeststate'],
];
/** Names that hold a credential only as a whole: `auth` is one, `author` is none. */
const WHOLE_KEYS = new Set(['auth', 'otp', 'totp', 'pin', 'cvv', 'cvc']);

/** Credentials by the look of them, wherever in a string they stand. */
const CREDENTIAL_TEXTS: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/\b(bearer|basic|dpop)\s+[\w.~+/=-]{4,}/gi, '$1 [redacted]'],
  [/(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[redacted]'],
  // API keys of `@mcp-blocks/secure-mcp-server`.
  [/\bmcpk_[\w-]{16,}/g, '[redacted]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[redacted]'],
  [/([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/?#@]{1,512}@/gi, '$1[redacted]@'],
  [/([?&#;](?:[\w.-]{0,32}(?:token|secret|password|api[_-]?key|signature)|code)=)[^&#\s]+/gi, '$1[redacted]'],
];

const REDACTED = '[redacted]';
/** More is not looked at: matching must stay cheap whatever a caller sends. */
const MAX_SCANNED = 65_536;

/**
 * Makes the function that takes credentials out of events and bounds their size. The function never throws:
 * what is no JSON becomes a word for it, and an event that cannot even be looked at loses its `details`.
 *
 * Members that are named like a credential go, with all they hold; so does what looks like one in any
 * text: `Bearer …`, JSON Web Tokens, private keys, passwords in URLs. `type`, `time`, `outcome` and the
 * numbers of the event stay as they are.
 *
 * @throws ConfigurationError when a rule is out of range.
 */
export function redactor(rules: RedactionRules = {}): (event: AuditEvent) => AuditEvent {
  const redaction = new Redaction(rules);
  return (event) => redaction.event(event);
}

/** A sink that records into `sink` what {@link redactor} leaves of each event. Closing it closes `sink`. */
export function redacting(sink: AuditSink, rules: RedactionRules = {}): AuditSink {
  const redact = redactor(rules);
  return {
    record: (event) => sink.record(redact(event)),
    flush: () => sink.flush(),
    close: () => sink.close(),
  };
}

class Redaction {
  readonly #keys: readonly string[];
  readonly #paths: readonly (readonly string[])[];
  readonly #mode: 'mask' | 'drop' | 'hash';
  readonly #hashKey: string | undefined;
  readonly #maxStringLength: number;
  readonly #maxDepth: number;
  readonly #maxMembers: number;

  constructor(rules: RedactionRules) {
    for (const [index, key] of (rules.keys ?? []).entries()) {
      if (typeof key !== 'string' || plain(key) === '')
        throw new ConfigurationError(`redact.keys[${index}]`, `expected a member's name, got '${key}'`);
    }
    for (const [index, path] of (rules.paths ?? []).entries()) {
      if (typeof path !== 'string' || path === '')
        throw new ConfigurationError(`redact.paths[${index}]`, `expected a dotted path, got '${path}'`);
    }
    this.#keys = [...CREDENTIAL_KEYS, ...(rules.keys ?? []).map(plain)];
    this.#paths = (rules.paths ?? []).map((path) => path.split('.'));
    this.#mode = rules.mode ?? 'mask';
    if (!['mask', 'drop', 'hash'].includes(this.#mode)) {
      throw new ConfigurationError('redact.mode', `expected 'mask', 'drop' or 'hash', got '${this.#mode}'`);
    }
    if (this.#mode === 'hash' && (rules.hashKey ?? '').length < 16) {
      throw new ConfigurationError('redact.hashKey', `expected at least 16 characters with mode 'hash'`);
    }
    this.#hashKey = rules.hashKey;
    this.#maxStringLength = inRange('redact.maxStringLength', rules.maxStringLength ?? 1_024, Number.MAX_SAFE_INTEGER);
    this.#maxDepth = inRange('redact.maxDepth', rules.maxDepth ?? 8, 64);
    this.#maxMembers = inRange('redact.maxMembers', rules.maxMembers ?? 128, Number.MAX_SAFE_INTEGER);
  }

  event(event: AuditEvent): AuditEvent {
    const { details, ...rest } = event;
    const kept: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(rest)) kept[name] = typeof value === 'string' ? this.#text(value) : value;
    if (details === undefined) return kept as unknown as AuditEvent;
    try {
      return { ...kept, details: this.#members(details, [], []) } as unknown as AuditEvent;
    } catch {
      // A getter or a proxy that throws: no reason to lose the fact.
      return { ...kept, details: { redaction: 'the details could not be read' } } as unknown as AuditEvent;
    }
  }

  #members(object: object, path: readonly string[], within: readonly unknown[]): JsonObject {
    const inside = [...within, object];
    const names = Object.keys(object);
    const members: [string, JsonValue][] = [];
    for (const name of names.slice(0, this.#maxMembers)) {
      const value = (object as Record<string, unknown>)[name];
      if (value === undefined) continue;
      const here = [...path, name];
      if (this.#names(name, value) || this.#placed(here)) {
        if (this.#mode !== 'drop') members.push([this.#text(name), this.#replacement(value)]);
      } else members.push([this.#text(name), this.#value(value, here, inside)]);
    }
    if (names.length > this.#maxMembers) members.push(['…', `${names.length - this.#maxMembers} more`]);
    // Defines members, so that one called __proto__ is a member like any other.
    return Object.fromEntries(members);
  }

  #value(value: unknown, path: readonly string[], within: readonly unknown[]): JsonValue {
    if (typeof value === 'string') return this.#text(value);
    if (typeof value === 'boolean' || value === null) return value;
    // JSON has no -0.
    if (typeof value === 'number') return Number.isFinite(value) ? value + 0 : `[${value}]`;
    if (typeof value !== 'object') return `[${typeof value}]`;
    if (within.includes(value)) return '[cyclic]';
    if (within.length >= this.#maxDepth) return '[too deep]';
    if (!Array.isArray(value)) return this.#members(value, path, within);
    const inside = [...within, value];
    const items: JsonValue[] = [];
    for (const [index, item] of value.slice(0, this.#maxMembers).entries()) {
      const here = [...path, String(index)];
      if (!this.#placed(here)) items.push(this.#value(item, here, inside));
      else if (this.#mode !== 'drop') items.push(this.#replacement(item));
    }
    if (value.length > this.#maxMembers) items.push(`… ${value.length - this.#maxMembers} more`);
    return items;
  }

  #names(name: string, value: unknown): boolean {
    const bare = plain(name);
    // A count of a language model's tokens.
    if (typeof value === 'number' && bare.endsWith('tokens')) return false;
    return WHOLE_KEYS.has(bare) || this.#keys.some((key) => bare.includes(key));
  }

  #placed(path: readonly string[]): boolean {
    return this.#paths.some((rule) => rule.length === path.length && rule.every((part, index) => part === '*' || part === path[index]));
  }

  #replacement(value: unknown): JsonValue {
    if (this.#hashKey === undefined || this.#mode !== 'hash') return REDACTED;
    const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
    return `hmac-sha256:${createHmac('sha256', this.#hashKey).update(text).digest('hex').slice(0, 32)}`;
  }

  #text(text: string): string {
    let safe = text.length > MAX_SCANNED ? text.slice(0, MAX_SCANNED) : text;
    for (const [pattern, replacement] of CREDENTIAL_TEXTS) safe = safe.replace(pattern, replacement);
    // What was not looked at is not kept either, whatever maxStringLength allows.
    const unseen = text.length > MAX_SCANNED ? text.length - MAX_SCANNED : 0;
    if (safe.length <= this.#maxStringLength && unseen === 0) return safe;
    const kept = safe.slice(0, this.#maxStringLength);
    return `${kept}… ${safe.length - kept.length + unseen} more`;
  }
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[-_.\s]/g, '');
}

function inRange(option: string, value: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > max) {
    throw new ConfigurationError(option, `expected an integer from 1${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}, got ${value}`);
  }
  return value;
}
