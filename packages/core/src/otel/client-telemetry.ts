import { context as contextApi, propagation, type Span, trace } from '@opentelemetry/api';
import { isJsonObject, type JsonObject } from '../json.js';
import type { RpcMiddleware, RpcRequest, RpcResult, TraceContext } from '../rpc.js';
import { type OperationFacts, operationTelemetry, type TelemetryOptions } from './operation-telemetry.js';
import { contextOf, traceOf } from './trace-context.js';

const SCOPE = '@mcp-blocks/core';

/** What is known of an outgoing request, and the trace it belongs to where no span is active. */
export interface ClientOperation extends OperationFacts {
  readonly trace?: TraceContext | undefined;
}

/**
 * A span of kind client and a measurement in `mcp.client.operation.duration` for each request that is sent, by
 * OpenTelemetry's semantic conventions for MCP; the names are `TELEMETRY` of `@mcp-blocks/core`. The request
 * carries its span to the server in `params._meta`: `traceparent`, `tracestate` and `baggage`.
 *
 * @returns a function that sends a request; `send` gets it with its `_meta`.
 */
export function clientOperations(options: TelemetryOptions = {}) {
  const observe = operationTelemetry('client', SCOPE, options);
  return (request: RpcRequest, facts: ClientOperation, send: (request: RpcRequest) => Promise<RpcResult>): Promise<RpcResult> => {
    const active = contextApi.active();
    const parent = trace.getSpan(active) === undefined ? contextOf(facts.trace) : active;
    return observe(request, facts, parent, (span) => send(withTrace(request, span, facts.trace)));
  };
}

/**
 * {@link clientOperations} as a middleware, around whatever sends requests: the handler of an `RpcCaller`, a
 * gateway's upstream. A request that belongs to no active span continues `context.trace`. Put it innermost, so
 * that each attempt is told apart.
 */
export function clientTelemetry(options: TelemetryOptions = {}): RpcMiddleware {
  const operations = clientOperations(options);
  return (next) => (request, context) => operations(request, context, (traced) => next(traced, context));
}

/** The request with the span in its `_meta`; a trace that came with it gives way to its own span. */
function withTrace(request: RpcRequest, span: Span, carried: TraceContext | undefined): RpcRequest {
  const own = traceOf(span, carried).trace ?? carried;
  const baggage = activeBaggage() ?? own?.baggage;
  const added: JsonObject = { ...own, ...(baggage === undefined ? {} : { baggage }) };
  if (Object.keys(added).length === 0) return request;
  const { traceparent: _theirs, tracestate: _state, ...meta } = isJsonObject(request.params._meta) ? request.params._meta : {};
  return { ...request, params: { ...request.params, _meta: { ...meta, ...added } } };
}

/** Baggage as the global propagator writes it; one that writes other headers too has no say in MCP. */
function activeBaggage(): string | undefined {
  const carrier: { baggage?: string } = {};
  propagation.inject(contextApi.active(), carrier);
  return carrier.baggage;
}
