import {
  type Context,
  context as contextApi,
  createTraceState,
  isSpanContextValid,
  propagation,
  type Span,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import type { TraceContext } from '../rpc.js';

const TRACEPARENT = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** The caller's span as the parent (W3C Trace Context, section 3.2); what cannot be read is ignored. */
export function contextOf(carried: TraceContext | undefined): Context {
  const active = contextApi.active();
  if (carried === undefined) return active;
  // For what else the global propagator reads, baggage above all.
  const extracted = propagation.extract(active, carried);
  const [, traceId, spanId, flags] = TRACEPARENT.exec(carried.traceparent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return extracted;
  const remote = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(carried.tracestate === undefined ? {} : { traceState: createTraceState(carried.tracestate) }),
  };
  return isSpanContextValid(remote) ? trace.setSpanContext(extracted, remote) : extracted;
}

/** What is carried, but that it names `span`; as it is where there is no OpenTelemetry SDK. */
export function traceOf(span: Span, carried: TraceContext | undefined): { readonly trace?: TraceContext } {
  const own = span.spanContext();
  if (!isSpanContextValid(own)) return {};
  const flags = own.traceFlags.toString(16).padStart(2, '0');
  const state = own.traceState?.serialize();
  const { tracestate: _theirs, ...rest } = carried ?? {};
  return { trace: { ...rest, traceparent: `00-${own.traceId}-${own.spanId}-${flags}`, ...(state ? { tracestate: state } : {}) } };
}
