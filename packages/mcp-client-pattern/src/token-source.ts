import { RpcError } from '@mcp-blocks/core';
import type { Tokens } from './tokens.js';

/** A bearer token, or the function that gets one. */
export type TokenOption = string | (() => Promise<string>);

/** Holds the current bearer token and gets a new one, once for however many callers need it. */
export class TokenSource implements Tokens {
  readonly #option: TokenOption | undefined;
  #current: Promise<string> | undefined;

  constructor(option: TokenOption | undefined) {
    this.#option = option;
  }

  /** Whether a refused token can be replaced: the option is a function. */
  get renewable(): boolean {
    return typeof this.#option === 'function';
  }

  /**
   * The token to present; `undefined` without credentials.
   *
   * @throws RpcError `unauthenticated` when the function fails.
   */
  async token(): Promise<string | undefined> {
    if (typeof this.#option !== 'function') return this.#option;
    this.#current ??= this.#ask(this.#option);
    return this.#current;
  }

  /** Drops the token if it is still the refused one; the next {@link TokenSource.token} asks anew. */
  async discard(refused: string | undefined): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    const value = await current.catch(() => undefined);
    if (value === refused && this.#current === current) this.#current = undefined;
  }

  /** What a token may do is the business of the function. */
  widen(): Promise<boolean> {
    return Promise.resolve(false);
  }

  personOf(): undefined {}

  /** The function ends by itself. */
  close(): void {}

  #ask(get: () => Promise<string>): Promise<string> {
    const asked: Promise<string> = (async () => get())().catch((cause: unknown) => {
      if (this.#current === asked) this.#current = undefined;
      throw new RpcError('unauthenticated', 'credentials.token: the function that gets the token has failed', { cause });
    });
    return asked;
  }
}
