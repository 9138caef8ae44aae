import { RpcError, type RpcErrorCode } from '@mcp-blocks/core';
import type { Outcome } from './remote.js';

/** What an HTTP status that is no success means for the request. */
export interface HttpRefusal {
  readonly outcome: Outcome;
  readonly error: RpcError;
}

const REFUSALS: Readonly<Record<number, readonly [code: RpcErrorCode, message: string]>> = {
  400: ['invalid_request', 'The server refused the request'],
  401: ['unauthenticated', 'The server refused the credentials'],
  403: ['forbidden', 'The server denied access'],
  404: ['upstream_error', 'There is no MCP endpoint at this URL'],
  405: ['upstream_error', 'There is no MCP endpoint at this URL'],
  413: ['payload_too_large', 'The server refused the request as too large'],
  429: ['rate_limited', 'The server refused the request as one too many'],
  503: ['unavailable', 'The server is not available'],
};

/** Statuses of a proxy that lost the server, or waited too long for it, with the request under way. */
const BROKEN: ReadonlySet<number> = new Set([408, 502, 504]);

/** Only the status is told: the body is a stranger's and could hold what was sent. */
export function toRefusal(status: number): HttpRefusal {
  const [code, message] = REFUSALS[status] ?? ['upstream_error', 'The server answered with an unexpected status'];
  const error = new RpcError(code, `${message} (HTTP ${status})`, { data: { httpStatus: status } });
  if (status === 503) return { outcome: 'not-started', error };
  return { outcome: BROKEN.has(status) ? 'unknown' : 'refused', error };
}
