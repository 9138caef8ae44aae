import { isRpcError, RpcError, type RpcErrorCode } from './errors.js';
import { isJsonObject, type JsonObject } from './json.js';

/** A failure as JSON-RPC and HTTP carry it. */
export interface WireError {
  /** JSON-RPC `error.code`. */
  readonly code: number;
  /** JSON-RPC `error.message`: one sentence, no stack, no secrets. */
  readonly message: string;
  /** JSON-RPC `error.data`. */
  readonly data?: JsonObject;
  /** The HTTP status of a response whose only content is this error. */
  readonly httpStatus: number;
  /** Further HTTP response headers. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The one mapping between our codes and the wire: JSON-RPC number, HTTP status.
 *
 * -327xx and -32600…-32603 are JSON-RPC 2.0's own, -32020…-32022 are MCP 2026-07-28's. The revision
 * closes -32000…-32099 to implementations (basic/index, "Error codes"), so ours are application codes
 * outside JSON-RPC's reserved range, equal to the HTTP status.
 */
const WIRE: Readonly<Record<RpcErrorCode, readonly [code: number, httpStatus: number]>> = {
  parse_error: [-32700, 400],
  invalid_request: [-32600, 400],
  method_not_found: [-32601, 404],
  invalid_params: [-32602, 200],
  resource_not_found: [-32602, 200],
  internal_error: [-32603, 200],
  header_mismatch: [-32020, 400],
  missing_client_capability: [-32021, 400],
  unsupported_protocol_version: [-32022, 400],
  unauthenticated: [401, 401],
  forbidden: [403, 403],
  insufficient_scope: [403, 403],
  timeout: [408, 200],
  payload_too_large: [413, 413],
  rate_limited: [429, 429],
  cancelled: [499, 200],
  upstream_error: [502, 200],
  unavailable: [503, 503],
  ambiguous_outcome: [504, 200],
};

const FROM_WIRE: ReadonlyMap<number, RpcErrorCode> = new Map([
  [-32700, 'parse_error'],
  [-32600, 'invalid_request'],
  [-32601, 'method_not_found'],
  [-32602, 'invalid_params'],
  [-32603, 'internal_error'],
  [-32002, 'resource_not_found'],
  [-32020, 'header_mismatch'],
  [-32021, 'missing_client_capability'],
  [-32022, 'unsupported_protocol_version'],
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [408, 'timeout'],
  [413, 'payload_too_large'],
  [429, 'rate_limited'],
  [499, 'cancelled'],
  [502, 'upstream_error'],
  [503, 'unavailable'],
  [504, 'ambiguous_outcome'],
]);

/**
 * Maps any thrown value to the wire. Errors that are not ours become `internal_error` with a fixed
 * message, so that no detail of an unexpected failure reaches the caller.
 */
export function toWireError(error: unknown): WireError {
  if (!isRpcError(error)) {
    return { code: -32603, message: 'Internal error', httpStatus: 200, headers: {} };
  }
  const [code, httpStatus] = WIRE[error.code];
  const data: JsonObject = { ...error.data };
  if (error.jsonRpcCode === undefined && code > 0) data.reason ??= error.code;
  return {
    code: error.jsonRpcCode ?? code,
    message: error.message,
    ...(Object.keys(data).length > 0 ? { data } : {}),
    httpStatus,
    headers: error.headers ?? {},
  };
}

/**
 * Reads a peer's JSON-RPC error. An unknown number becomes `upstream_error`; the number itself is kept
 * in `jsonRpcCode`, so that a forwarded error reaches the caller as it was.
 */
export function fromWireError(error: { code: number; message: string; data?: unknown }): RpcError {
  const data = isJsonObject(error.data) ? error.data : undefined;
  const named = data?.reason === 'insufficient_scope' ? 'insufficient_scope' : FROM_WIRE.get(error.code);
  return new RpcError(named ?? 'upstream_error', error.message, {
    jsonRpcCode: error.code,
    ...(data ? { data } : {}),
  });
}
