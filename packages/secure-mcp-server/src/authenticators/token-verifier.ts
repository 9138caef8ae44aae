import { type Authenticator, ConfigurationError } from '@mcp-blocks/core';

/** An authenticator of bearer tokens that accepts those only which were issued for this server. */
export interface TokenVerifier extends Authenticator {
  /** The names of this server, one of which each accepted token has as its audience. */
  readonly audiences: readonly string[];
}

/** @throws ConfigurationError unless there is at least one audience, none empty. */
export function audienceOption(option: string, audience: string | readonly string[]): readonly string[] {
  const audiences = typeof audience === 'string' ? [audience] : audience;
  if (!Array.isArray(audiences) || audiences.length === 0 || audiences.some((name) => typeof name !== 'string' || name === '')) {
    throw new ConfigurationError(option, 'expected a non-empty string, or several');
  }
  return audiences;
}
