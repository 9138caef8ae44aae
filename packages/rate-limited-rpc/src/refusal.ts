import { RpcError } from '@mcp-blocks/core';
import type { LimitVerdict } from './algorithms/limiter.js';
import { isConcurrency, type NamedLimit } from './options.js';

/** One limit and how a call stands with it. */
export interface LimitStanding {
  readonly limit: NamedLimit;
  readonly verdict: LimitVerdict;
}

/** When a call in progress ends is not known; this is how soon it is worth asking again. */
export const CONCURRENCY_RETRY_MS = 1000;

/**
 * The error of a refused call.
 *
 * Headers follow RFC 9110 (`Retry-After`, in seconds) and draft-ietf-httpapi-ratelimit-headers, revision
 * 08 and later (`RateLimit-Policy` for every limit that applied, `RateLimit` for the one that refused).
 */
export function refusal(refused: LimitStanding, applied: readonly NamedLimit[], cause?: unknown): RpcError {
  const { limit, verdict } = refused;
  const possible = verdict.retryAfterMs !== Infinity;
  const retryAfterMs = Math.max(1, verdict.retryAfterMs);
  const seconds = toSeconds(retryAfterMs);
  return new RpcError(
    'rate_limited',
    possible ? `Too many requests; try again in ${seconds} s` : 'The request costs more than its limit ever allows',
    {
      data: {
        ...(possible ? { retryAfterMs } : {}),
        limit: isConcurrency(limit) ? limit.concurrent : limit.requests,
        remaining: verdict.remaining,
        ...(isConcurrency(limit) ? {} : { resetMs: Math.max(1, verdict.resetMs) }),
        by: typeof limit.by === 'string' ? limit.by : 'custom',
      },
      headers: { ...(possible ? { 'retry-after': String(seconds) } : {}), ...limitHeaders([refused], applied) },
      auditReason: `limit '${limit.name}': ${described(limit)}`,
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** The fields of draft-ietf-httpapi-ratelimit-headers, as far as there is something to say. */
export function limitHeaders(standings: readonly LimitStanding[], applied: readonly NamedLimit[]): Record<string, string> {
  return {
    ratelimit: standings.map(standing).join(', '),
    'ratelimit-policy': applied.map(policy).join(', '),
  };
}

function standing({ limit, verdict }: LimitStanding): string {
  if (isConcurrency(limit)) return `"${limit.name}";r=${verdict.remaining}`;
  // How long until there is more than now: for a refused call, until it has room.
  const ms = verdict.allowed ? verdict.resetMs : verdict.retryAfterMs;
  return `"${limit.name}";r=${verdict.remaining}${ms === Infinity ? '' : `;t=${toSeconds(ms)}`}`;
}

const POLICIES = new WeakMap<NamedLimit, string>();

function policy(limit: NamedLimit): string {
  const known = POLICIES.get(limit);
  if (known !== undefined) return known;
  const text = policyText(limit);
  POLICIES.set(limit, text);
  return text;
}

function policyText(limit: NamedLimit): string {
  if (isConcurrency(limit)) return `"${limit.name}";q=${limit.concurrent};qu="concurrent-requests"`;
  return `"${limit.name}";q=${limit.requests};w=${toSeconds(limit.windowMs)}`;
}

function described(limit: NamedLimit): string {
  return isConcurrency(limit) ? `${limit.concurrent} calls at a time` : `${limit.requests} requests per ${limit.windowMs} ms`;
}

/** The headers know whole seconds only; never less than the true time. */
function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
