import { isRpcError, RpcError } from '@mcp-blocks/core';

/** What a challenge of a protected resource says beside its error (RFC 9728 section 5.1, RFC 6750 section 3). */
export interface ChallengeParameters {
  readonly metadataUrl: string;
  /** Scopes without which nothing can be called. */
  readonly requiredScopes: readonly string[];
}

/**
 * An error as it is, but that the `WWW-Authenticate` of a 401 or a 403 for want of scopes tells the client
 * where to get a token, and every scope to ask for (MCP 2026-07-28, basic/authorization, "Scope Challenge
 * Handling").
 */
export function withChallenge(error: unknown, { metadataUrl, requiredScopes }: ChallengeParameters): unknown {
  if (!isRpcError(error) || (error.code !== 'unauthenticated' && error.code !== 'insufficient_scope')) return error;
  const challenge = error.headers?.['www-authenticate'] ?? 'Bearer';
  const [, rest] = /^bearer\b\s*(.*)$/i.exec(challenge) ?? [];
  // A challenge of another scheme, or one that is complete, is somebody else's.
  if (rest === undefined || /\bresource_metadata=/.test(rest)) return error;
  const named = /(?:^|, )scope="([^"]*)"/.exec(rest);
  const scopes = new Set([...requiredScopes, ...(named?.[1]?.split(' ') ?? [])].filter((scope) => scope !== ''));
  const parameters = [
    ...(named === null ? [rest] : [rest.replace(named[0], '').replace(/^, /, '')]),
    ...(scopes.size === 0 ? [] : [`scope="${[...scopes].join(' ')}"`]),
    `resource_metadata="${metadataUrl}"`,
  ].filter((parameter) => parameter !== '');
  return new RpcError(error.code, error.message, {
    ...(error.data === undefined ? {} : { data: error.data }),
    ...(error.auditReason === undefined ? {} : { auditReason: error.auditReason }),
    ...(error.jsonRpcCode === undefined ? {} : { jsonRpcCode: error.jsonRpcCode }),
    headers: { ...error.headers, 'www-authenticate': `Bearer ${parameters.join(', ')}` },
    cause: error,
  });
}
