import { fromWireError, isJsonObject, isRpcError, RpcError } from '@mcp-blocks/core';
import { extractWWWAuthenticateParams } from '@modelcontextprotocol/client';

/** What a server says about the token it wants (RFC 6750 section 3, RFC 9728 section 5.1). */
export interface Challenge {
  /** Where the protected resource's metadata is. */
  readonly resourceMetadataUrl?: URL;
  /** The scopes that are needed, separated by spaces. */
  readonly scope?: string;
}

const HEADER = 'www-authenticate';

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * `fetch` that keeps what the SDK's client drops: the challenge of a 401 response, and of a 403 response that
 * says `insufficient_scope`. It is thrown as the RpcError it means, with the header in `headers`.
 */
export function challengeFetch(inner: Fetch): Fetch {
  return async (url, init) => {
    const response = await inner(url, init);
    const header = response.headers.get(HEADER);
    if (header === null || (response.status !== 401 && response.status !== 403)) return response;
    const { scope, error } = extractWWWAuthenticateParams(response);
    if (response.status === 403 && error !== 'insufficient_scope') return response;
    const answer = jsonRpcErrorIn(await response.text());
    const known = answer === undefined ? undefined : fromWireError(answer);
    const headers = { [HEADER]: header };
    const number = known?.jsonRpcCode === undefined ? {} : { jsonRpcCode: known.jsonRpcCode };
    if (response.status === 401) {
      const data = known?.data === undefined ? {} : { data: known.data };
      throw new RpcError('unauthenticated', 'The server does not accept the credentials', { ...number, ...data, headers });
    }
    const data = { ...(scope === undefined ? {} : { requiredScopes: scope.split(' ') }), ...known?.data };
    throw new RpcError('insufficient_scope', known?.message ?? 'The token lacks a scope this request needs', { ...number, data, headers });
  };
}

/** Reads what {@link challengeFetch} threw, or a server said over another transport. */
export function readChallenge(error: unknown): Challenge {
  if (!isRpcError(error)) return {};
  const header = error.headers?.[HEADER];
  const read = header === undefined ? {} : extractWWWAuthenticateParams(new Response(null, { headers: { [HEADER]: header } }));
  const required = error.data?.requiredScopes;
  const listed = Array.isArray(required) ? required.filter((scope) => typeof scope === 'string').join(' ') : '';
  const scope = read.scope ?? listed;
  return {
    ...(read.resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl: read.resourceMetadataUrl }),
    ...(scope === '' ? {} : { scope }),
  };
}

/**
 * Asks a server for its challenge with a request that has no token. For refusals that came without one: a
 * WebSocket handshake tells a browser nothing at all.
 */
export async function askForChallenge(url: URL, fetch: Fetch): Promise<Challenge> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const asking = challengeFetch(fetch)(url, { method: 'POST', headers, body });
  // Whatever else it answers, or nothing: there are defaults for what a challenge would say.
  return asking.then(() => ({}), readChallenge);
}

function jsonRpcErrorIn(text: string): { code: number; message: string; data?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const error = isJsonObject(value) ? value.error : undefined;
    if (!isJsonObject(error) || typeof error.code !== 'number' || typeof error.message !== 'string') return undefined;
    return { code: error.code, message: error.message, data: error.data };
  } catch {
    return undefined;
  }
}
