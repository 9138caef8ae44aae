import {
  type Clock,
  ConfigurationError,
  canonicalJson,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  type Principal,
  principalKey,
  type StateStore,
} from '@mcp-blocks/core';
import { fromBase64, toBase64 } from './base64.js';

/** How the states that handlers leave with clients are sealed. */
export interface RequestStateOptions {
  /**
   * Secrets of at least 32 random bytes: the first seals, all open. To replace one, put the new one first
   * and drop the old one after `ttlMs`. All servers of a service have the same.
   */
  readonly keys: readonly Uint8Array[];
  /** How long a state is good for; milliseconds, an integer from 1. Default: 600,000. */
  readonly ttlMs?: number;
  /** Remembers which states have come back, so that each does only once. Shared by all servers of a service. Default: they may come back again. */
  readonly singleUse?: StateStore;
}

/** The request a state belongs to. It opens for the same one only. */
export interface StateBinding {
  readonly principal: Principal;
  /** What is done with it. */
  readonly method: string;
  /** The tool's or prompt's name, or the resource's URI. */
  readonly name: string;
  /** As the caller sent them. */
  readonly arguments: JsonObject;
}

interface DerivedKey {
  /** Tells which key sealed. Says nothing about the key. */
  readonly id: Uint8Array;
  readonly key: CryptoKey;
}

const VERSION = 1;
const ID_BYTES = 4;
const IV_BYTES = 12;
const HEADER_BYTES = 1 + ID_BYTES + IV_BYTES;
const MAX_TEXT = 1_048_576;

/** Why a state did not open. */
export class StateRefusal extends Error {}

/**
 * Seals states with AES-256-GCM under keys derived by HKDF-SHA-256. A sealed state is base64url of version,
 * key id, a random initialisation vector, and the encrypted state with its expiry; the request it belongs
 * to is authenticated with it. Random vectors are safe for 2^32 states per key (NIST SP 800-38D, 8.3).
 */
export class RequestStateSeal {
  readonly #keys: readonly Promise<DerivedKey>[];
  readonly #ttlMs: number;
  readonly #store: StateStore | undefined;
  readonly #clock: Clock;

  /** @throws ConfigurationError naming the option that is not as documented. */
  constructor({ keys, ttlMs = 600_000, singleUse }: RequestStateOptions, clock: Clock) {
    if (!Array.isArray(keys) || keys.length === 0) throw new ConfigurationError('requestState.keys', 'expected at least one key');
    for (const [index, key] of keys.entries()) {
      if (!(key instanceof Uint8Array) || key.length < 32) {
        throw new ConfigurationError(`requestState.keys[${index}]`, 'expected a Uint8Array of at least 32 random bytes');
      }
    }
    if (!Number.isSafeInteger(ttlMs) || ttlMs < 1)
      throw new ConfigurationError('requestState.ttlMs', `expected an integer from 1, got ${ttlMs}`);
    this.#keys = keys.map((key: Uint8Array) => derive(new Uint8Array(key)));
    this.#ttlMs = ttlMs;
    this.#store = singleUse;
    this.#clock = clock;
  }

  /** @throws TypeError when the state is not JSON. */
  async seal(state: JsonValue, binding: StateBinding): Promise<string> {
    const { id, key } = (await this.#keys[0]) as DerivedKey;
    const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
    const plain = canonicalJson({ state, expiresAt: this.#clock.now() + this.#ttlMs, id: crypto.randomUUID() });
    const header = Uint8Array.of(VERSION, ...id, ...iv);
    const sealed = await crypto.subtle.encrypt(algorithm(iv, header, binding), key, new TextEncoder().encode(plain));
    const whole = new Uint8Array(HEADER_BYTES + sealed.byteLength);
    whole.set(header);
    whole.set(new Uint8Array(sealed), HEADER_BYTES);
    return toBase64(whole).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  }

  /** @throws StateRefusal for anything {@link seal} did not make for this request, or that has expired or been used. */
  async open(text: string, binding: StateBinding): Promise<JsonValue> {
    const bytes =
      text.length <= MAX_TEXT && /^[A-Za-z0-9_-]*$/.test(text) ? fromBase64(text.replaceAll('-', '+').replaceAll('_', '/')) : undefined;
    if (bytes === undefined || bytes.length <= HEADER_BYTES || bytes[0] !== VERSION) throw new StateRefusal('malformed');
    const id = bytes.subarray(1, 1 + ID_BYTES);
    const candidates = (await Promise.all(this.#keys)).filter((derived) => derived.id.every((byte, index) => byte === id[index]));
    const header = bytes.slice(0, HEADER_BYTES);
    for (const { key } of candidates) {
      let plain: ArrayBuffer;
      try {
        plain = await crypto.subtle.decrypt(algorithm(header.slice(1 + ID_BYTES), header, binding), key, bytes.slice(HEADER_BYTES));
      } catch {
        continue;
      }
      return this.#current(JSON.parse(new TextDecoder().decode(plain)));
    }
    throw new StateRefusal(candidates.length === 0 ? 'sealed with no key of ours' : 'changed, or of another request');
  }

  async #current(content: unknown): Promise<JsonValue> {
    const { state, expiresAt, id } = (isJsonObject(content) ? content : {}) as { state: JsonValue; expiresAt: number; id: string };
    const leftMs = expiresAt - this.#clock.now();
    if (!(leftMs > 0)) throw new StateRefusal('expired');
    const first = await (this.#store?.set(`request-state:${id}`, 1, { ifAbsent: true, ttlMs: leftMs }) ?? true);
    if (!first) throw new StateRefusal('used before');
    return state;
  }
}

function algorithm(
  iv: Uint8Array<ArrayBuffer>,
  header: Uint8Array,
  { principal, method, name, arguments: args }: StateBinding,
): AesGcmParams {
  const bound = new TextEncoder().encode(canonicalJson([principalKey(principal), method, name, args]));
  const additionalData = new Uint8Array(header.length + bound.length);
  additionalData.set(header);
  additionalData.set(bound, header.length);
  return { name: 'AES-GCM', iv, additionalData };
}

async function derive(secret: Uint8Array<ArrayBuffer>): Promise<DerivedKey> {
  const base = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey', 'deriveBits']);
  const hkdf = (info: string) => ({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: new TextEncoder().encode(info) });
  const id = new Uint8Array(await crypto.subtle.deriveBits(hkdf('mcp-blocks request state key id'), base, ID_BYTES * 8));
  const key = await crypto.subtle.deriveKey(hkdf('mcp-blocks request state key'), base, { name: 'AES-GCM', length: 256 }, false, [
    'encrypt',
    'decrypt',
  ]);
  return { id, key };
}
