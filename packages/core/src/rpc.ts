import type { Principal } from './identity.js';
import type { JsonObject } from './json.js';

/** One MCP request, free of transport: `method` and `params` as the spec of its revision names them. */
export interface RpcRequest {
  /** An MCP method such as `tools/call`. */
  readonly method: string;
  /**
   * The method's parameters. `_meta` holds what the caller sent less the reserved envelope keys, which
   * are in the {@link RpcContext}. `inputResponses` and `requestState` of a multi-round-trip retry are
   * members of `params`, as on the wire.
   */
  readonly params: JsonObject;
}

/** The `result` of a response: the MCP result object of the method. */
export type RpcResult = JsonObject;

/** W3C trace context (`traceparent`, `tracestate`, `baggage`) that came with a request. */
export interface TraceContext {
  readonly traceparent?: string;
  readonly tracestate?: string;
  readonly baggage?: string;
}

/** Everything about a request that is not the request. */
export interface RpcContext {
  /** Who calls. */
  readonly principal: Principal;
  /** What carried the request: `http`, `websocket`, `unix`, `stdio`, `memory`, or a custom listener's name. */
  readonly transport: string;
  /** The MCP revision spoken with this caller, such as `2026-07-28`; `eraOf` tells its era. */
  readonly protocolVersion: string;
  /** Aborts when the caller is gone, has cancelled, or the request is past its deadline. */
  readonly signal: AbortSignal;
  /** The legacy era's session. Absent in the modern era, which has none. */
  readonly sessionId?: string;
  /** JSON-RPC id of the request, where there is one. */
  readonly requestId?: string | number;
  /** As the client describes itself. Not verified: never base a decision on it. */
  readonly clientInfo?: JsonObject;
  /** What the client declares it can do (elicitation, sampling, roots). */
  readonly clientCapabilities?: JsonObject;
  /** The caller's network address. */
  readonly remoteAddress?: string;
  readonly trace?: TraceContext;
  /** The lowest log level the caller wants as `notifications/message`; absent: none. */
  readonly logLevel?: string;
  /** Sends a notification that belongs to this request (progress, log) before its result. */
  notify(method: string, params: JsonObject): Promise<void>;
  /**
   * Asks the client (`sampling/createMessage`, `elicitation/create`, `roots/list`) and waits for its
   * answer. Only on legacy connections that can carry it; modern handlers return `input_required`.
   */
  readonly request?: (method: string, params: JsonObject) => Promise<RpcResult>;
  /**
   * Of `resources/subscribe`: aborts when the subscription ends, whether the client says so or is gone.
   * Absent where the listener cannot tell; then it ends with `resources/unsubscribe`.
   */
  readonly subscription?: AbortSignal;
  /**
   * Adds a header to the HTTP response of this request, beside values it has already; too late once a
   * notification has been sent. Present where a response belongs to one request: HTTP, modern era.
   */
  readonly addResponseHeader?: (name: string, value: string) => void;
}

/** As much of a context as is known of a caller before a request is read. */
export type Caller = Pick<RpcContext, 'principal' | 'transport' | 'remoteAddress'>;

/** Answers requests: a tool registry, an SDK server behind a bridge, a cluster. Fails by throwing. */
export type RpcHandler = (request: RpcRequest, context: RpcContext) => Promise<RpcResult>;

/** Wraps a handler: rate limit, audit, idempotency, metrics, cache, retry. */
export type RpcMiddleware = (next: RpcHandler) => RpcHandler;

/** Wraps `handler` in `middleware`; the first one is outermost and sees the request first. */
export function compose(handler: RpcHandler, middleware: readonly RpcMiddleware[] = []): RpcHandler {
  return middleware.reduceRight((next, wrap) => wrap(next), handler);
}
