import type { RpcError } from '@mcp-blocks/core';
import type { ResolvedConfig } from '../config.js';
import { TokenSource } from '../token-source.js';
import type { Tokens } from '../tokens.js';
import type { OAuthTokens, OAuthTokensOptions } from './oauth-tokens.js';

/** The tokens that a client's `credentials` stand for. */
export function clientTokens({ credentials, httpUrl, allowInsecure, clock, newId }: ResolvedConfig): Tokens {
  if (credentials === undefined || 'token' in credentials) return new TokenSource(credentials?.token);
  return new LoadedOAuthTokens({ oauth: credentials.oauth, serverUrl: httpUrl, allowInsecure, clock, newId });
}

/** {@link OAuthTokens}, loaded when they are first needed: a page without OAuth does not carry it. */
class LoadedOAuthTokens implements Tokens {
  readonly renewable = true;
  readonly #options: OAuthTokensOptions;
  #loading: Promise<OAuthTokens> | undefined;
  #loaded: OAuthTokens | undefined;
  #closed = false;

  constructor(options: OAuthTokensOptions) {
    this.#options = options;
  }

  async token(): Promise<string | undefined> {
    return (await this.#tokens()).token();
  }

  async discard(refused: string | undefined, why?: unknown): Promise<void> {
    await (await this.#tokens()).discard(refused, why);
  }

  async widen(token: string | undefined, why: RpcError): Promise<boolean> {
    return (await this.#tokens()).widen(token, why);
  }

  personOf(token: string): string | undefined {
    return this.#loaded?.personOf(token);
  }

  close(): void {
    this.#closed = true;
    this.#loaded?.close();
  }

  #tokens(): Promise<OAuthTokens> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      // A page that is offline may have better luck the next time.
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #load(): Promise<OAuthTokens> {
    const module = await import('./oauth-tokens.js');
    this.#loaded = new module.OAuthTokens(this.#options);
    if (this.#closed) this.#loaded.close();
    return this.#loaded;
  }
}
