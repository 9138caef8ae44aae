import { ConfigurationError } from '@mcp-blocks/core';
import { networkOf } from './ip-network.js';
import type { KeyParts } from './key.js';

/** Calls meant by an allow list or a deny list: those that have everything the entry names. At least one thing. */
export interface AccessListEntry {
  /** The principal's id. Ids are unique within an issuer only: an entry that allows should name that too. */
  readonly principal?: string;
  /** The principal's issuer, beside `principal`. */
  readonly issuer?: string;
  readonly clientId?: string;
  /** An address; of IPv6 addresses the whole /64 network is meant. */
  readonly ip?: string;
  readonly tool?: string;
  readonly method?: string;
  /** Epoch milliseconds from which on the entry means nobody. Default: it stays. */
  readonly expiresAt?: number;
}

/** More would make every call slow; who must block whole populations does it in front of the server. */
const MAX_ENTRIES = 10_000;

/** Entries until they expire. */
export class AccessList {
  readonly #option: string;
  readonly #now: () => number;
  readonly #entries = new Set<AccessListEntry>();

  /** @throws ConfigurationError for an entry that means nothing or everything. */
  constructor(option: string, entries: readonly AccessListEntry[], now: () => number) {
    this.#option = option;
    this.#now = now;
    for (const [index, entry] of entries.entries()) this.#enter(entry, `${option}[${index}]`);
  }

  /** Enters a copy; the returned function takes it out again. */
  add(entry: AccessListEntry): () => void {
    this.#prune();
    return this.#enter(entry, this.#option);
  }

  has(parts: KeyParts): boolean {
    if (this.#entries.size === 0) return false;
    const now = this.#now();
    for (const entry of this.#entries) {
      if ((entry.expiresAt === undefined || entry.expiresAt > now) && matches(entry, parts)) return true;
    }
    return false;
  }

  #enter(entry: AccessListEntry, at: string): () => void {
    check(entry, at);
    if (this.#entries.size >= MAX_ENTRIES) throw new ConfigurationError(this.#option, `expected at most ${MAX_ENTRIES} entries`);
    const own = { ...entry, ...(entry.ip === undefined ? {} : { ip: networkOf(entry.ip) }) };
    this.#entries.add(own);
    return () => void this.#entries.delete(own);
  }

  #prune(): void {
    const now = this.#now();
    for (const entry of this.#entries) if (entry.expiresAt !== undefined && entry.expiresAt <= now) this.#entries.delete(entry);
  }
}

const NAMES = ['principal', 'issuer', 'clientId', 'ip', 'tool', 'method'] as const;

function matches(entry: AccessListEntry, { principal, tool, method, remoteAddress }: KeyParts): boolean {
  return (
    (entry.principal === undefined || entry.principal === principal?.id) &&
    (entry.issuer === undefined || entry.issuer === principal?.issuer) &&
    (entry.clientId === undefined || entry.clientId === principal?.clientId) &&
    (entry.tool === undefined || entry.tool === tool) &&
    (entry.method === undefined || entry.method === method) &&
    (entry.ip === undefined || (remoteAddress !== undefined && entry.ip === networkOf(remoteAddress)))
  );
}

function check(entry: AccessListEntry, at: string): void {
  if (typeof entry !== 'object' || entry === null) throw new ConfigurationError(at, `expected an entry, got ${JSON.stringify(entry)}`);
  for (const [name, value] of Object.entries(entry)) {
    if (name === 'expiresAt') {
      if (value !== undefined && !Number.isFinite(value)) {
        throw new ConfigurationError(`${at}.expiresAt`, `expected epoch milliseconds, got ${JSON.stringify(value)}`);
      }
    } else if (!(NAMES as readonly string[]).includes(name)) {
      throw new ConfigurationError(`${at}.${name}`, `expected one of ${NAMES.join(', ')}, expiresAt`);
    } else if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw new ConfigurationError(`${at}.${name}`, `expected text, got ${JSON.stringify(value)}`);
    }
  }
  if (NAMES.every((name) => entry[name] === undefined)) throw new ConfigurationError(at, `expected at least one of ${NAMES.join(', ')}`);
}
