/** The subprotocol both ends speak (RFC 6455, 1.9). Not registered: this is a custom MCP transport. */
export const SUBPROTOCOL = 'mcp';

/** What stands before the name of a Noise protocol in the subprotocol that means MCP inside it. */
export const NOISE_SUBPROTOCOL_PREFIX = 'mcp.Noise_';

/**
 * How a browser, which cannot set headers on a WebSocket, presents a token: a further subprotocol entry,
 * this prefix and the token in base64url. The server never answers with it.
 */
export const TOKEN_SUBPROTOCOL_PREFIX = 'mcp.bearer.';

/** The response header of the handshake that carries the server's name for the connection. */
export const SESSION_HEADER = 'mcp-connection-id';

/** What the server's name for a connection looks like. */
export const SESSION_ID = /^[\x21-\x7e]{1,128}$/;

/** Query parameters that look like a credential. URLs end up in logs, so none is ever accepted there. */
const CREDENTIAL_PARAMETERS = new Set([
  'access_token',
  'api-key',
  'api_key',
  'apikey',
  'authorization',
  'bearer',
  'id_token',
  'jwt',
  'token',
]);

/** The name of the query parameter that looks like a credential, if there is one. */
export function credentialParameter(query: URLSearchParams): string | undefined {
  for (const name of query.keys()) if (CREDENTIAL_PARAMETERS.has(name.toLowerCase())) return name;
  return undefined;
}
