import { type Clock, RpcError } from '@mcp-blocks/core';

/** How long a metadata or token endpoint may take. */
const TIMEOUT_MS = 10_000;

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Options of {@link oauthFetch}. */
export interface OAuthFetchOptions {
  readonly clock: Clock;
  /** Ends every request. */
  readonly signal: AbortSignal;
  /** Plain `http` beyond loopback. */
  readonly allowInsecure: boolean;
}

/**
 * `fetch` for authorization: bounded in time, and only over TLS (OAuth 2.1 section 1.5), since where it goes
 * is for servers to say.
 */
export function oauthFetch({ clock, signal, allowInsecure }: OAuthFetchOptions): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (allowInsecure || LOOPBACK.test(url.hostname))))
      throw new RpcError('unauthenticated', `${url.origin}: authorization needs https`);
    const abort = new AbortController();
    const onAbort = () => abort.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const late = new RpcError('unavailable', `${url.origin} did not answer within ${TIMEOUT_MS} ms`);
    const cancelTimer = clock.setTimeout(() => abort.abort(late), TIMEOUT_MS);
    try {
      const response = await fetch(input, { ...init, signal: abort.signal });
      // Read here, so that the time covers it.
      const body = response.body === null ? null : await response.arrayBuffer();
      return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers });
    } finally {
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
    }
  };
}
