import {
  type Attributes,
  type Context,
  context as contextApi,
  type Histogram,
  type Meter,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { isRpcError } from '../errors.js';
import type { EndedSession } from '../listener.js';
import type { RpcRequest, RpcResult } from '../rpc.js';
import { methodLabel, TELEMETRY } from '../telemetry.js';
import { toWireError } from '../wire.js';

/** Where spans and measurements go. */
export interface TelemetryOptions {
  /** Makes the spans. Default: the global provider's. */
  readonly tracer?: Tracer;
  /** Makes the histograms. Default: the global provider's. */
  readonly meter?: Meter;
}

/** What is known of a request beside the request. */
export interface OperationFacts {
  /** As in `RpcContext`. */
  readonly transport: string;
  readonly protocolVersion?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly requestId?: string | number | undefined;
}

type Side = 'client' | 'server';

const { attributes: NAME, histograms } = TELEMETRY;

/** Most tool and prompt names that become values of the histogram's attributes. */
const MAX_NAMES = 1000;

/**
 * Makes a span and a measurement of each request. Of names that callers choose only those of tools and prompts
 * that have answered become attributes of the histogram, 1,000 at most.
 *
 * @param scope - the instrumentation scope.
 * @returns a function that runs `act` within the request's span, below `parent`.
 */
export function operationTelemetry(side: Side, scope: string, options: TelemetryOptions = {}) {
  const tracer = options.tracer ?? trace.getTracer(scope);
  const name = side === 'client' ? histograms.clientOperation : histograms.serverOperation;
  const duration = histogram(name, `The duration of an MCP request as observed by the ${side}.`, options.meter ?? metrics.getMeter(scope));
  const known = new Set<string>();

  return async (
    request: RpcRequest,
    facts: OperationFacts,
    parent: Context,
    act: (span: Span) => Promise<RpcResult>,
  ): Promise<RpcResult> => {
    const startedAt = performance.now();
    const { method, subject } = describe(request);
    const bounded = boundedAttributes(method, facts);
    const span = tracer.startSpan(
      subject === undefined ? method : `${method} ${subject.name}`,
      {
        kind: side === 'client' ? SpanKind.CLIENT : SpanKind.SERVER,
        attributes: {
          ...bounded,
          ...(subject === undefined ? {} : { [subject.attribute]: subject.name }),
          ...(facts.sessionId === undefined ? {} : { [NAME.sessionId]: facts.sessionId }),
          ...(facts.requestId === undefined ? {} : { [NAME.requestId]: String(facts.requestId).slice(0, 128) }),
        },
      },
      parent,
    );
    let failure: Attributes = {};
    try {
      const result = await contextApi.with(trace.setSpan(parent, span), () => act(span));
      if (result.isError === true) {
        failure = { [NAME.errorType]: TELEMETRY.toolError };
        span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR });
      } else if (subject !== undefined && known.size < MAX_NAMES) known.add(`${subject.attribute} ${subject.name}`);
      return result;
    } catch (error) {
      failure = failureAttributes(side, error);
      span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR, message: toWireError(error).message });
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

/** Measures how long sessions last: the returned function is to be called with each that has ended. */
export function sessionTelemetry(side: Side, scope: string, options: Pick<TelemetryOptions, 'meter'> = {}) {
  const name = side === 'client' ? histograms.clientSession : histograms.serverSession;
  const duration = histogram(name, `The duration of an MCP session as observed by the ${side}.`, options.meter ?? metrics.getMeter(scope));
  return ({ transport, protocolVersion, durationMs }: Omit<EndedSession, 'protocolVersion'> & Pick<OperationFacts, 'protocolVersion'>) =>
    duration.record(durationMs / 1000, sharedAttributes({ transport, protocolVersion }));
}

function histogram(name: string, description: string, meter: Meter): Histogram {
  return meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: [...TELEMETRY.durationBuckets] } });
}

function failureAttributes(side: Side, error: unknown): Attributes {
  const type = isRpcError(error) ? error.code : side === 'client' && error instanceof Error ? error.name : 'internal_error';
  // A client has a code to tell only where the server has answered.
  const answered = side === 'server' || (isRpcError(error) && error.jsonRpcCode !== undefined);
  return { [NAME.errorType]: type, ...(answered ? { [NAME.statusCode]: String(toWireError(error).code) } : {}) };
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

function boundedAttributes(method: string, facts: OperationFacts): Attributes {
  return {
    [NAME.method]: method,
    ...(method === 'tools/call' ? { [NAME.operation]: TELEMETRY.executeTool } : {}),
    ...sharedAttributes(facts),
  };
}

function sharedAttributes({ transport: name, protocolVersion }: OperationFacts): Attributes {
  const [transport, protocol] = NETWORK[name] ?? [];
  return {
    ...(protocolVersion === undefined ? {} : { [NAME.protocolVersion]: protocolVersion }),
    ...(transport === undefined ? {} : { [NAME.transport]: transport }),
    ...(protocol === undefined ? {} : { [NAME.networkProtocol]: protocol }),
  };
}
