import { type Authenticator, RpcError } from '@mcp-blocks/core';

/** Accepts the sessions of a table, in the header `x-session`. */
export const sessionTable = (users: ReadonlyMap<string, string>): Authenticator => ({
  name: 'session-table',
  async authenticate(request) {
    const session = request.header('x-session');
    if (session === undefined) return undefined; // Not ours: the next authenticator is asked.
    const id = users.get(session);
    if (id === undefined) throw new RpcError('unauthenticated', 'The session is not valid', { auditReason: 'unknown session' });
    return { id, authentication: 'session-table', roles: [], scopes: [] };
  },
});
