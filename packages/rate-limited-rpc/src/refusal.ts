import { RpcError } from '@mcp-blocks/core';
import type { RateLimit } from './options.js';
import type { WindowUse } from './window-counter.js';

type NamedLimit = RateLimit & { readonly name: string };

/**
 * The error of a refused call.
 *
 * Headers follow RFC 9110 (`Retry-After`, in seconds) and draft-ietf-httpapi-ratelimit-headers, revision
 * 09 and later (`RateLimit-Policy` for every limit that applied, `RateLimit` for the one that refused).
 */
export function refusal(limit: NamedLimit, use: WindowUse, applied: readonly NamedLimit[], cause?: unknown): RpcError {
  const retryAfterMs = Math.max(1, use.resetMs);
  const seconds = toSeconds(retryAfterMs);
  return new RpcError('rate_limited', `Too many requests; try again in ${seconds} s`, {
    data: {
      retryAfterMs,
      limit: limit.requests,
      remaining: 0,
      resetMs: retryAfterMs,
      by: typeof limit.by === 'string' ? limit.by : 'custom',
    },
    headers: {
      'retry-after': String(seconds),
      ratelimit: `"${limit.name}";r=0;t=${seconds}`,
      'ratelimit-policy': applied.map(({ name, requests, windowMs }) => `"${name}";q=${requests};w=${toSeconds(windowMs)}`).join(', '),
    },
    auditReason: `limit '${limit.name}': ${limit.requests} requests per ${limit.windowMs} ms`,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The headers know whole seconds only; never less than the true time. */
function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
