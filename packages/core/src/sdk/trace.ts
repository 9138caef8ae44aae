import type { JsonObject } from '../json.js';
import type { TraceContext } from '../rpc.js';

/** The W3C trace context in a `_meta`, if there is any. */
export function traceOf(meta: JsonObject | undefined): TraceContext | undefined {
  let trace: { -readonly [Name in keyof TraceContext]: TraceContext[Name] } | undefined;
  for (const name of ['traceparent', 'tracestate', 'baggage'] as const) {
    const value = meta?.[name];
    if (typeof value !== 'string') continue;
    trace ??= {};
    trace[name] = value;
  }
  return trace;
}
