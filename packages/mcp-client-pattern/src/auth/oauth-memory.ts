import { type Clock, isJsonObject, type JsonObject, type JsonValue, sleep } from '@mcp-blocks/core';
import type { StoredOAuthClientInformation, StoredOAuthTokens } from '@modelcontextprotocol/client';
import type { OAuthStorage } from './oauth-options.js';

/** Tokens, with what the authorization server does not say about them. */
export interface KeptTokens extends StoredOAuthTokens {
  readonly issuer: string;
  /** The scopes that were asked for; an authorization server names those it gave only where they differ. */
  readonly requestedScope?: string | undefined;
  /** Epoch milliseconds of their expiry. */
  readonly expiresAt?: number | undefined;
  /** Names whoever gave the authorization; the same after a refresh. */
  readonly person: string;
}

/** A lock is held for no longer than this if its holder dies; refreshing takes less. */
const LOCK_TTL_MS = 30_000;
const LOCK_POLL_MS = 100;

/** What a storage keeps for one server: its tokens, and the client's registration with each authorization server by issuer. */
export class OAuthMemory {
  readonly #storage: OAuthStorage;
  readonly #server: string;
  readonly #client: string;
  readonly #clock: Clock;

  /** @param client - tells registrations of different clients apart. */
  constructor(storage: OAuthStorage, server: string, client: string, clock: Clock) {
    this.#storage = storage;
    this.#server = server;
    this.#client = client;
    this.#clock = clock;
  }

  get #tokensKey(): string {
    return `mcp oauth tokens ${this.#server} ${this.#client}`;
  }

  async tokens(): Promise<KeptTokens | undefined> {
    const kept = await this.#storage.get(this.#tokensKey);
    return isJsonObject(kept) && typeof kept.access_token === 'string' ? (kept as unknown as KeptTokens) : undefined;
  }

  async keepTokens(tokens: KeptTokens): Promise<void> {
    await this.#storage.set(this.#tokensKey, jsonOf(tokens));
  }

  async client(issuer: string): Promise<StoredOAuthClientInformation | undefined> {
    const kept = await this.#storage.get(this.#clientKey(issuer));
    return isJsonObject(kept) ? (kept as unknown as StoredOAuthClientInformation) : undefined;
  }

  async keepClient(issuer: string, information: StoredOAuthClientInformation): Promise<void> {
    await this.#storage.set(this.#clientKey(issuer), jsonOf(information));
  }

  async forgetClient(issuer: string): Promise<void> {
    await this.#storage.delete(this.#clientKey(issuer));
  }

  /** The authorization server that a client registered before belongs to, once it has been used. */
  async boundIssuer(): Promise<string | undefined> {
    const issuer = await this.#storage.get(this.#issuerKey);
    return typeof issuer === 'string' ? issuer : undefined;
  }

  async bindIssuer(issuer: string): Promise<void> {
    await this.#storage.set(this.#issuerKey, issuer);
  }

  /** Does something that no other client of the storage does meanwhile. */
  async alone<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const { acquireLock, releaseLock } = this.#storage;
    if (acquireLock === undefined || releaseLock === undefined) return act();
    const key = `${this.#tokensKey} lock`;
    let lock = await acquireLock.call(this.#storage, key, LOCK_TTL_MS);
    while (lock === undefined) {
      await sleep(this.#clock, LOCK_POLL_MS, signal);
      lock = await acquireLock.call(this.#storage, key, LOCK_TTL_MS);
    }
    try {
      return await act();
    } finally {
      await releaseLock.call(this.#storage, key, lock.token);
    }
  }

  get #issuerKey(): string {
    return `mcp oauth issuer ${this.#server} ${this.#client}`;
  }

  #clientKey(issuer: string): string {
    return `mcp oauth client ${issuer} ${this.#client}`;
  }
}

/** As JSON has it, without members that are undefined. */
function jsonOf(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonValue as JsonObject;
}
