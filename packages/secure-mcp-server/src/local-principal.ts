import { userInfo } from 'node:os';
import type { Principal } from '@mcp-blocks/core';

/** The person this process runs for, without roles. */
export function localPrincipal(): Principal {
  return { id: `local:${userInfo().username}`, authentication: 'local', roles: [], scopes: [] };
}
