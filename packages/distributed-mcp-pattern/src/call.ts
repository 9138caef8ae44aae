import { isJsonObject, isRpcError, type RpcErrorCode, type RpcRequest } from '@mcp-blocks/core';
import type { PickInfo } from './balancing/balancer.js';
import type { NodeOutcome } from './cluster-node.js';
import type { Deadline } from './deadline.js';
import type { RouteOptions } from './router.js';
import { TransportFailure } from './upstream/upstream.js';
import type { SessionRoute } from './upstream-sessions.js';

/** One call on its way through the cluster. */
export interface Call {
  readonly request: RpcRequest;
  readonly options: RouteOptions;
  /** Of a caller whose session is one of its own at the node. */
  readonly session?: SessionRoute | undefined;
  /** What the balancer may know of it. */
  readonly info: PickInfo;
  /** Ids of the nodes it was sent to. */
  readonly tried: Set<string>;
  /** Aborts when the caller is gone or the time is up. */
  readonly signal: AbortSignal;
  /** Ends `signal` in time; it stands still while the caller is asked something. */
  readonly deadline: Deadline;
  /** Requests with a node at this moment. */
  sending: number;
  /** A node may have carried it out without a word, and it is sent on by its idempotency key. */
  uncertain: boolean;
}

/** No node was left to send a call to. */
export class NoNode extends Error {}

/** Whether another node may be asked: this one did not take the request, or nobody knows. */
export function isRetryable(error: unknown): boolean {
  if (isPushback(error)) return false;
  return error instanceof TransportFailure || (isRpcError(error) && error.code === 'unavailable');
}

/** The node had its time for this attempt. */
export class TryTimeout extends TransportFailure {
  constructor(timeoutMs: number) {
    super(`The node did not answer within ${timeoutMs} ms`, { delivery: 'unknown' });
  }
}

/**
 * What it takes to send a call again after a failure. `free`: it never reached a node, which costs nobody
 * anything. `patient`: the connection was lost, so a node is gone, with many calls at once; they wait for
 * places in the budget. `strict`: a node answered with a failure or was too slow, which may be overload;
 * without a place in the budget the call fails.
 */
export function repetitionOf(error: unknown): 'free' | 'patient' | 'strict' {
  if (!(error instanceof TransportFailure) || error.status !== undefined || error instanceof TryTimeout) return 'strict';
  return error.delivery === 'not-sent' ? 'free' : 'patient';
}

/** Answers that say of this attempt that it was not carried out, and nothing of one before. */
const REFUSALS: ReadonlySet<RpcErrorCode> = new Set([
  'unauthenticated',
  'forbidden',
  'insufficient_scope',
  'missing_client_capability',
  'rate_limited',
  'unavailable',
]);

export function isRefusal(error: unknown): boolean {
  return isRpcError(error) && REFUSALS.has(error.code);
}

/** "Too many requests" is for who sent them: no failure of the node, and no reason to burden another one. */
export function isPushback(error: unknown): boolean {
  return error instanceof TransportFailure ? error.status === 429 : isRpcError(error) && error.code === 'rate_limited';
}

/** An error answer of the node is an answer, except one that says it takes no requests. */
export function outcomeOf(error: unknown): NodeOutcome {
  if (error instanceof TransportFailure) {
    if (!error.blamesNode) return 'abandoned';
    const { status = 503 } = error;
    return status >= 502 && status <= 504 ? 'no-answer' : 'server-error';
  }
  if (!isRpcError(error)) return 'abandoned';
  return error.code === 'unavailable' ? 'no-answer' : 'answered';
}

/** How long the node wants to be left alone, in milliseconds, where it says so with "unavailable". */
export function requestedPauseMs(error: unknown): number | undefined {
  if (!isRpcError(error) || error.code !== 'unavailable') return undefined;
  const delayMs = error.data?.retryAfterMs;
  return typeof delayMs === 'number' && delayMs > 0 ? Math.min(delayMs, MAX_PAUSE_MS) : undefined;
}

/** Longer than that no node is left alone on its own word. */
const MAX_PAUSE_MS = 300_000;

/** What the balancer may know of a request. */
export function pickInfoOf({ method, params }: RpcRequest, caller: string | undefined, sessionId: string | undefined): PickInfo {
  return {
    sessionId,
    caller,
    method,
    tool: method === 'tools/call' && isJsonObject(params) && typeof params.name === 'string' ? params.name : undefined,
  };
}
