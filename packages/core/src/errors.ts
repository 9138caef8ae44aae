import type { JsonObject } from './json.js';

/**
 * The stable reason of a failed call. The numbers and HTTP statuses each one has on the wire are in
 * `wire.ts`, and nowhere else.
 */
export type RpcErrorCode =
  | 'parse_error'
  | 'invalid_request'
  | 'method_not_found'
  | 'invalid_params'
  | 'internal_error'
  | 'header_mismatch'
  | 'missing_client_capability'
  | 'unsupported_protocol_version'
  | 'resource_not_found'
  | 'unauthenticated'
  | 'forbidden'
  | 'insufficient_scope'
  | 'rate_limited'
  | 'payload_too_large'
  | 'timeout'
  | 'cancelled'
  | 'unavailable'
  | 'ambiguous_outcome'
  | 'upstream_error';

/** Details of an {@link RpcError}. */
export interface RpcErrorOptions {
  /** Sent to the caller as JSON-RPC `error.data`. Must hold nothing the caller may not know. */
  readonly data?: JsonObject;
  /** The error underneath, for logs. Never sent to the caller. */
  readonly cause?: unknown;
  /** Why, for the audit trail only. Never sent to the caller. */
  readonly auditReason?: string;
  /** The JSON-RPC number to send, where it must be a peer's own (a forwarded error). */
  readonly jsonRpcCode?: number;
  /** Response headers for HTTP, lower-case names: `www-authenticate`, `retry-after`. */
  readonly headers?: Readonly<Record<string, string>>;
}

const BRAND = Symbol.for('mcp-blocks.RpcError');

/** A failed call. Handlers and middleware throw it; the listener maps it to the wire. */
export class RpcError extends Error {
  override readonly name: string = 'RpcError';
  readonly code: RpcErrorCode;
  readonly data: JsonObject | undefined;
  readonly auditReason: string | undefined;
  readonly jsonRpcCode: number | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(code: RpcErrorCode, message: string, options: RpcErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.data = options.data;
    this.auditReason = options.auditReason;
    this.jsonRpcCode = options.jsonRpcCode;
    this.headers = options.headers;
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** True for any {@link RpcError}, also one made by another copy of this package. */
export function isRpcError(value: unknown): value is RpcError {
  return value instanceof Error && (value as { [BRAND]?: boolean })[BRAND] === true;
}

/**
 * A mistake in the options given to one of our constructors, found at start-up.
 * `option` is the path of the option, such as `limits[0].windowMs`.
 */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly code = 'invalid_configuration';
  readonly option: string;

  constructor(option: string, expected: string) {
    super(`${option}: ${expected}`);
    this.option = option;
  }
}
