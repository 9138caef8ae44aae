import type { AuthInfo } from '@modelcontextprotocol/server';
import { anonymous, type Principal } from '../identity.js';
import type { WireError } from '../wire.js';

/** What a listener knows about the connection, or the HTTP request, that a message came over. */
export interface Connection {
  readonly principal: Principal;
  readonly transport: string;
  readonly remoteAddress?: string;
  readonly sessionId?: string;
  /** Told of every failed request, so that an HTTP listener can set status and headers by it. */
  readonly onFailure?: (error: WireError) => void;
  /** Where the connection is one HTTP exchange: adds a header to its response. */
  readonly addResponseHeader?: (name: string, value: string) => void;
}

const EXTRA = 'mcp-blocks.connection';

/** Packs a connection into the SDK's pass-through `AuthInfo`. The token is left out on purpose. */
export function toAuthInfo(connection: Connection): AuthInfo {
  const { principal } = connection;
  return {
    token: '',
    clientId: principal.clientId ?? principal.id,
    scopes: [...principal.scopes],
    ...(principal.expiresAt === undefined ? {} : { expiresAt: Math.floor(principal.expiresAt / 1000) }),
    extra: { [EXTRA]: connection },
  };
}

/** The connection packed by {@link toAuthInfo}, if there is one. */
export function carriedConnection(authInfo: AuthInfo | undefined): Connection | undefined {
  return authInfo?.extra?.[EXTRA] as Connection | undefined;
}

/** The connection packed by {@link toAuthInfo}; an anonymous one where there is none. */
export function connectionOf(authInfo: AuthInfo | undefined): Connection {
  return carriedConnection(authInfo) ?? { principal: anonymous, transport: 'unknown' };
}
