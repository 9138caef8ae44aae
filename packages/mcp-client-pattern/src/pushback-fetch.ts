import { type Clock, isJsonObject, RpcError } from '@mcp-blocks/core';
import { ConnectionLostError } from './connection.js';

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * `fetch` that keeps what the SDK's client drops: how long a 429 or 503 response asks to be left alone
 * (`Retry-After`, RFC 9110 section 10.2.3). A JSON-RPC error in such a response gets it as
 * `data.retryAfterMs`, where it has none of its own.
 */
export function pushbackFetch(clock: Clock): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (response.status !== 429 && response.status !== 503) return response;
    const retryAfterMs = readRetryAfter(response.headers.get('retry-after'), clock.now());
    if (retryAfterMs === undefined) return response;
    const body = await response.text();
    const answer = jsonRpcErrorIn(body);
    if (answer !== undefined) {
      const error = { ...answer.error, data: { retryAfterMs, ...answer.error.data } };
      const { status, statusText, headers } = response;
      return new Response(JSON.stringify({ ...answer, error }), { status, statusText, headers: new Headers(headers) });
    }
    if (response.status === 429)
      throw new RpcError('rate_limited', 'The server takes no more requests for now (HTTP 429)', { data: { retryAfterMs } });
    // Whether a proxy said it before or after it had passed the request on, it does not say.
    throw new ConnectionLostError('The server cannot be reached (HTTP 503)', true, undefined, retryAfterMs);
  };
}

/** Seconds or a date, as milliseconds from now. */
function readRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const delayMs = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(delayMs) && delayMs > 0 ? delayMs : undefined;
}

function jsonRpcErrorIn(text: string): { error: { data?: object } } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value) || !isJsonObject(value.error)) return undefined;
    const { data } = value.error;
    return data === undefined || isJsonObject(data) ? (value as { error: { data?: object } }) : undefined;
  } catch {
    return undefined;
  }
}
