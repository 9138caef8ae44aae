import type { RpcError } from '@mcp-blocks/core';

/** Where the bearer tokens of connections come from. One object serves all connections of a client. */
export interface Tokens {
  /** Whether a refused token can be replaced by another one. */
  readonly renewable: boolean;
  /**
   * The token to present; `undefined` when there is none to present. Gets one where that is needed, once for
   * however many callers.
   *
   * @throws RpcError `unauthenticated` when there is none to be had, `unavailable` when that cannot be found out now.
   */
  token(): Promise<string | undefined>;
  /** Drops the token if it is still the refused one; the next {@link Tokens.token} gets another. `why` is how it was refused. */
  discard(refused: string | undefined, why?: unknown): Promise<void>;
  /**
   * Gets a token that may do what this one may not (`insufficient_scope`), in its place.
   *
   * @returns false when there is none to ask for.
   * @throws RpcError as {@link Tokens.token}; the token stays in use then.
   */
  widen(token: string | undefined, why: RpcError): Promise<boolean>;
  /** Names whoever a token stands for, where renewed tokens are known to be the same person's. */
  personOf(token: string): string | undefined;
  /** Ends what is under way. */
  close(): void;
}
