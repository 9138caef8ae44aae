import { createHash } from 'node:crypto';
import {
  isJsonObject,
  isRepeatableMethod,
  isRpcError,
  type JsonObject,
  type JsonValue,
  META,
  principalKey,
  type RpcContext,
  RpcError,
  type RpcErrorCode,
  type RpcRequest,
  type RpcResult,
  stateArguments,
  toWireError,
} from '@mcp-blocks/core';

/** A call with an idempotency key: what its record is kept under, and what has to be the same when it comes again. */
export interface KeyedCall {
  /** Digest of principal, scope, method, tool and key. */
  readonly name: string;
  /** Digest of the parameters, less `_meta` and what answers a question of the server. */
  readonly arguments: string;
  /** Digest of the answers to what the server asked; the same call goes through several rounds of them. */
  readonly round: string;
}

/** How a call ended, as it is kept: the result, the error, or only that it did. */
export type Outcome = { readonly result: string } | { readonly error: JsonObject } | { readonly unkept: true };

/** What is kept under a key. */
export type IdempotencyRecord = {
  readonly arguments: string;
  readonly round: string;
} & (
  | { readonly state: 'begun'; readonly owner: string; readonly call: number }
  /** The server asked its caller for input: the same round gets the same questions, another one goes on. */
  | { readonly state: 'asked'; readonly outcome: Outcome }
  | { readonly state: 'done'; readonly outcome: Outcome }
  /** It was given up half-way. */
  | { readonly state: 'unknown' }
  /** It was begun and not carried out; on its way out of the store. */
  | { readonly state: 'void' }
);

const LONGEST_KEY = 255;

/**
 * The key of a call that has one and needs it: methods that may be repeated anyway have no use for it.
 * @throws RpcError `invalid_params` when it is no string of 1 to 255 characters.
 */
export function keyedCallOf({ method, params }: RpcRequest, { principal }: RpcContext): KeyedCall | undefined {
  const { _meta: meta, inputResponses, requestState, ...rest } = params;
  const key = isJsonObject(meta) ? meta[META.idempotencyKey] : undefined;
  if (key === undefined || isRepeatableMethod(method)) return undefined;
  if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY) {
    throw new RpcError('invalid_params', `_meta["${META.idempotencyKey}"]: expected a string of 1 to ${LONGEST_KEY} characters`);
  }
  const scope = (meta as JsonObject)[META.idempotencyScope] ?? null;
  const tool = method === 'tools/call' ? (params.name ?? null) : null;
  return {
    name: digest([principalKey(principal), scope, method, tool, key]),
    arguments: digest(rest),
    round: inputResponses === undefined && requestState === undefined ? '' : digest([inputResponses ?? null, requestState ?? null]),
  };
}

export function asRecord(value: JsonValue | undefined): IdempotencyRecord | undefined {
  return isJsonObject(value) && typeof value.state === 'string' ? (value as unknown as IdempotencyRecord) : undefined;
}

/** How a result is kept. */
export function outcomeOfResult(result: RpcResult, maxBytes: number): Outcome {
  // As text, so that members keep their order.
  return bounded(result, maxBytes, (text) => ({ result: text }));
}

/** How a failure is kept: as the caller hears of it. */
export function outcomeOfError(error: unknown, maxBytes: number): Outcome {
  const { message } = toWireError(error);
  const { code, data, jsonRpcCode }: Partial<RpcError> = isRpcError(error) ? error : { code: 'internal_error' };
  const kept: JsonObject = { code, message, data, jsonRpcCode };
  return bounded(kept, maxBytes, () => ({ error: kept }));
}

function bounded(value: JsonObject, maxBytes: number, keep: (text: string) => Outcome): Outcome {
  try {
    const text = JSON.stringify(value);
    return Buffer.byteLength(text) <= maxBytes ? keep(text) : { unkept: true };
  } catch {
    // Not JSON: it will not reach this caller either.
    return { unkept: true };
  }
}

/** What the caller is answered who asks again. */
export function replay(outcome: Outcome): RpcResult {
  if ('result' in outcome) return JSON.parse(outcome.result) as RpcResult;
  if ('unkept' in outcome) {
    throw new RpcError('ambiguous_outcome', 'The call with this idempotency key has ended; its result was not kept', {
      data: { reason: 'idempotency_result_not_kept' },
    });
  }
  const { code, message, data, jsonRpcCode } = outcome.error;
  throw new RpcError(code as RpcErrorCode, String(message), {
    ...(isJsonObject(data) ? { data } : {}),
    ...(typeof jsonRpcCode === 'number' ? { jsonRpcCode } : {}),
  });
}

/** Failures that say that the call was not carried out: the same key may try again. */
const REFUSALS: ReadonlySet<RpcErrorCode> = new Set([
  'unauthenticated',
  'forbidden',
  'insufficient_scope',
  'missing_client_capability',
  'rate_limited',
  'unavailable',
]);

/** Failures that leave open how the call ended. */
const OPEN_ENDS: ReadonlySet<RpcErrorCode> = new Set(['cancelled', 'timeout', 'ambiguous_outcome']);

/** What a failed call has come to. */
export function endOf(error: unknown, aborted: boolean): 'refused' | 'unknown' | 'failed' {
  if (isRpcError(error) && REFUSALS.has(error.code)) return 'refused';
  return aborted || (isRpcError(error) && OPEN_ENDS.has(error.code)) ? 'unknown' : 'failed';
}

function digest(value: JsonValue): string {
  return createHash('sha256').update(stateArguments.text(value)).digest('base64url');
}
