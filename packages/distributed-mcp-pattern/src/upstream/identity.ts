import { type Principal, principalKey } from '@mcp-blocks/core';

/**
 * Names a principal together with everything credentials may be minted from. Two callers share
 * connections and lists only when they are the same person with the same rights.
 */
export function identityKey(principal: Principal | undefined): string {
  if (principal === undefined) return '';
  const { roles, scopes, attributes, clientKey } = principal;
  return JSON.stringify([principalKey(principal), [...roles].sort(), [...scopes].sort(), attributes ?? null, clientKey ?? null]);
}
