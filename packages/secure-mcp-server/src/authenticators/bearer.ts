import type { AuthenticationRequest } from '@mcp-blocks/core';

/** The token of `Authorization: Bearer`, if there is one (RFC 6750 section 2.1; the scheme is case-insensitive). */
export function bearerToken(request: AuthenticationRequest): string | undefined {
  return /^bearer +([^\s]+) *$/i.exec(request.header('authorization') ?? '')?.[1];
}
