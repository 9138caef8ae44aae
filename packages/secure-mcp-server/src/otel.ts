import {
  type EndedSession,
  isRpcError,
  methodLabel,
  type RpcContext,
  type RpcErrorCode,
  type RpcMiddleware,
  type RpcRequest,
  TELEMETRY,
  type TraceContext,
  toWireError,
} from '@mcp-blocks/core';
import {
  type Attributes,
  type Context,
  context as contextApi,
  createTraceState,
  isSpanContextValid,
  type Meter,
  metrics,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';

/** Options of {@link telemetry}. */
export interface TelemetryOptions {
  /** Makes the spans. Default: the global provider's. */
  readonly tracer?: Tracer;
  /** Makes the histogram. Default: the global provider's. */
  readonly meter?: Meter;
}

/** Where sessions are told of: a `SecureMCPServer`. */
export interface SessionSource {
  on(name: 'sessionEnded', listener: (session: EndedSession) => void): () => void;
}

const SCOPE = '@mcp-blocks/secure-mcp-server';
const { attributes: NAME } = TELEMETRY;

/** Most tool and prompt names that become values of the histogram's attributes. */
const MAX_NAMES = 1000;

/**
 * A span and a measurement for each request, by OpenTelemetry's semantic conventions for MCP; the names are
 * `TELEMETRY` of `@mcp-blocks/core`. Needs the package `@opentelemetry/api`.
 *
 * Spans are called `{method} {tool or prompt name}`, are of kind server, and continue the trace of
 * `params._meta` (`traceparent`, `tracestate`); the handler's `context.trace` names the span, so that calls to
 * upstreams continue it. Failures have `error.type`: the code of the `RpcError`, `tool_error` for a result with
 * `isError`. Arguments, results and principals are in neither. Of names that callers choose only those of tools
 * and prompts that have answered become attributes of the histogram, 1,000 at most.
 */
export function telemetry(options: TelemetryOptions = {}): RpcMiddleware {
  const tracer = options.tracer ?? trace.getTracer(SCOPE);
  const duration = (options.meter ?? metrics.getMeter(SCOPE)).createHistogram(TELEMETRY.histograms.serverOperation, {
    description: 'The duration of an MCP request as observed by the server.',
    unit: 's',
    advice: { explicitBucketBoundaries: [...TELEMETRY.durationBuckets] },
  });
  const known = new Set<string>();

  return (next) => async (request, context) => {
    const startedAt = performance.now();
    const { method, subject } = describe(request);
    const bounded = boundedAttributes(method, context);
    const parent = parentOf(context.trace);
    const span = tracer.startSpan(
      subject === undefined ? method : `${method} ${subject.name}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          ...bounded,
          ...(subject === undefined ? {} : { [subject.attribute]: subject.name }),
          ...(context.sessionId === undefined ? {} : { [NAME.sessionId]: context.sessionId }),
          ...(context.requestId === undefined ? {} : { [NAME.requestId]: String(context.requestId) }),
        },
      },
      parent,
    );
    let failure: Attributes = {};
    try {
      const result = await contextApi.with(trace.setSpan(parent, span), () =>
        next(request, { ...context, ...traceOf(span, context.trace) }),
      );
      if (result.isError === true) {
        failure = { [NAME.errorType]: TELEMETRY.toolError };
        span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR });
      } else if (subject !== undefined && known.size < MAX_NAMES) known.add(`${subject.attribute} ${subject.name}`);
      return result;
    } catch (error) {
      const { code, message } = toWireError(error);
      const type: RpcErrorCode = isRpcError(error) ? error.code : 'internal_error';
      failure = { [NAME.errorType]: type, [NAME.statusCode]: String(code) };
      span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR, message });
      throw error;
    } finally {
      span.end();
      const named = subject !== undefined && known.has(`${subject.attribute} ${subject.name}`);
      duration.record((performance.now() - startedAt) / 1000, {
        ...bounded,
        ...(named ? { [subject.attribute]: subject.name } : {}),
        ...failure,
      });
    }
  };
}

/**
 * Measures how long sessions last in the histogram `mcp.server.session.duration`, by transport and revision: those
 * of the legacy era over HTTP, as this node held them, and connections over WebSocket, Unix socket and stdio.
 * Modern requests over HTTP belong to no session.
 *
 * @param server - the one to watch.
 * @returns the function that ends the observation.
 */
export function observeSessions(server: SessionSource, options: Pick<TelemetryOptions, 'meter'> = {}): () => void {
  const duration = (options.meter ?? metrics.getMeter(SCOPE)).createHistogram(TELEMETRY.histograms.serverSession, {
    description: 'The duration of an MCP session as observed by the server.',
    unit: 's',
    advice: { explicitBucketBoundaries: [...TELEMETRY.durationBuckets] },
  });
  return server.on('sessionEnded', ({ transport, protocolVersion, durationMs }) =>
    duration.record(durationMs / 1000, { [NAME.protocolVersion]: protocolVersion, ...networkAttributes(transport) }),
  );
}

interface Subject {
  readonly attribute: string;
  readonly name: string;
}

function describe({ method, params }: RpcRequest): { readonly method: string; readonly subject: Subject | undefined } {
  const attribute = method === 'tools/call' ? NAME.toolName : method === 'prompts/get' ? NAME.promptName : undefined;
  const subject = attribute !== undefined && typeof params.name === 'string' ? { attribute, name: params.name.slice(0, 128) } : undefined;
  return { method: methodLabel(method), subject };
}

/** OpenTelemetry's values of `network.transport` and `network.protocol.name` for our transports. */
const NETWORK: Readonly<Record<string, readonly [transport: string, protocol?: string]>> = {
  http: ['tcp', 'http'],
  websocket: ['tcp', 'websocket'],
  unix: ['unix'],
  stdio: ['pipe'],
};

function boundedAttributes(method: string, context: RpcContext): Attributes {
  return {
    [NAME.method]: method,
    [NAME.protocolVersion]: context.protocolVersion,
    ...(method === 'tools/call' ? { [NAME.operation]: TELEMETRY.executeTool } : {}),
    ...networkAttributes(context.transport),
  };
}

function networkAttributes(name: string): Attributes {
  const [transport, protocol] = NETWORK[name] ?? [];
  return {
    ...(transport === undefined ? {} : { [NAME.transport]: transport }),
    ...(protocol === undefined ? {} : { [NAME.networkProtocol]: protocol }),
  };
}

const TRACEPARENT = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** The caller's span as the parent (W3C Trace Context, section 3.2); what cannot be read is ignored. */
function parentOf(carried: TraceContext | undefined): Context {
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

function traceOf(span: Span, carried: TraceContext | undefined): { readonly trace?: TraceContext } {
  const own = span.spanContext();
  if (!isSpanContextValid(own)) return {};
  const flags = own.traceFlags.toString(16).padStart(2, '0');
  const state = own.traceState?.serialize();
  const { tracestate: _theirs, ...rest } = carried ?? {};
  return { trace: { ...rest, traceparent: `00-${own.traceId}-${own.spanId}-${flags}`, ...(state ? { tracestate: state } : {}) } };
}
