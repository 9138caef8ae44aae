import {
  type AuditEvent,
  type AuditOutcome,
  type AuditSink,
  type Clock,
  ConfigurationError,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type RpcContext,
  RpcError,
  type RpcMiddleware,
  type RpcRequest,
  type RpcResult,
  systemClock,
} from '@mcp-blocks/core';
import { type RedactionRules, redactor } from './redaction.js';

/** Options of {@link auditTrail}. */
export interface AuditTrailOptions {
  /** Where the events go. Not closed by the middleware. */
  readonly sink: AuditSink;
  /** What the events may not say, beside what `redacting` takes out anyway. */
  readonly redact?: RedactionRules;
  /**
   * What of a call's arguments goes into `details`: their `names`, their redacted `values`, or `none`.
   * Default: `names`.
   */
  readonly arguments?: 'names' | 'values' | 'none';
  /**
   * Whether calls need the trail. `true`: while the sink takes no more events, calls are refused with
   * `unavailable` before they run; the events of calls that ran already are kept and recorded first.
   * `false`: calls go on, and what cannot be recorded goes to `onError`. Default: false.
   */
  readonly required?: boolean;
  /** Told, with the event, when the sink did not take one. With `required` it is tried again. */
  readonly onError?: (error: Error, event: AuditEvent) => void;
  readonly clock?: Clock;
}

const SUBJECTS: ReadonlyMap<string, readonly [type: string, member: string]> = new Map([
  ['tools/call', ['tool.call', 'name']],
  ['resources/read', ['resource.read', 'uri']],
  ['prompts/get', ['prompt.get', 'name']],
]);
const REFUSALS: ReadonlySet<string> = new Set(['unauthenticated', 'forbidden', 'insufficient_scope', 'rate_limited']);
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/;

/**
 * Records exactly one event for every request that passes, however it ends: `tool.call`, `resource.read`,
 * `prompt.get`, `rpc.request` for every other method, with the outcome, the duration and the trace id.
 *
 * `denied` are failures with code `unauthenticated`, `forbidden`, `insufficient_scope` or `rate_limited`;
 * `failed` all others and tool results with `isError`; `details.code` tells the error's code. When the
 * caller leaves or the request's time is up before the handler answers, the event is recorded at that
 * moment, as failed, and says that the handler was still at work.
 *
 * Put it outermost, so that what other middleware refuses is recorded too.
 *
 * @throws ConfigurationError when an option is wrong.
 */
export function auditTrail(options: AuditTrailOptions): RpcMiddleware {
  const { sink, required = false, onError, clock = systemClock } = options;
  const shown = options.arguments ?? 'names';
  if (typeof sink?.record !== 'function') throw new ConfigurationError('sink', `expected an AuditSink, got ${String(sink)}`);
  if (!['names', 'values', 'none'].includes(shown)) {
    throw new ConfigurationError('arguments', `expected 'names', 'values' or 'none', got '${shown}'`);
  }
  const redact = redactor(options.redact);
  /** With `required`: events of calls that ran while the sink took none. As many as calls were in progress. */
  const owed: AuditEvent[] = [];

  const attempt = (event: AuditEvent): boolean => {
    try {
      sink.record(event);
      return true;
    } catch (error) {
      onError?.(error instanceof Error ? error : new Error(String(error)), event);
      return false;
    }
  };
  const settleDebts = (): boolean => {
    while (owed.length > 0 && attempt(owed[0] as AuditEvent)) owed.shift();
    return owed.length === 0;
  };
  const record = (event: AuditEvent) => {
    const safe = redact(event);
    if (!required) attempt(safe);
    else if (!settleDebts() || !attempt(safe)) owed.push(safe);
  };

  return (next) => async (request, context) => {
    if (!settleDebts()) {
      throw new RpcError('unavailable', 'The request cannot be audited now', { auditReason: 'the audit sink takes no more events' });
    }
    const startedAt = clock.now();
    let recorded = false;
    const end = (outcome: AuditOutcome, reason?: string, details?: JsonObject) => {
      if (recorded) return;
      recorded = true;
      record(eventOf(request, context, { outcome, reason, time: clock.now(), durationMs: clock.now() - startedAt, details, shown }));
    };
    const onAbort = () => {
      const cause = context.signal.reason as unknown;
      end('failed', 'the request was given up while its handler was still at work', { code: isRpcError(cause) ? cause.code : 'cancelled' });
    };
    context.signal.addEventListener('abort', onAbort, { once: true });
    try {
      const result = await next(request, context);
      const failed = result.isError === true;
      end(failed ? 'failed' : 'succeeded', failed ? firstText(result) : undefined, outcomeDetails(result));
      return result;
    } catch (error) {
      const code = isRpcError(error) ? error.code : 'internal_error';
      end(REFUSALS.has(code) ? 'denied' : 'failed', describe(error), { code });
      throw error;
    } finally {
      context.signal.removeEventListener('abort', onAbort);
    }
  };
}

interface Ending {
  readonly outcome: AuditOutcome;
  readonly reason: string | undefined;
  readonly time: number;
  readonly durationMs: number;
  readonly details: JsonObject | undefined;
  readonly shown: 'names' | 'values' | 'none';
}

function eventOf({ method, params }: RpcRequest, context: RpcContext, ending: Ending): AuditEvent {
  const [type, member] = SUBJECTS.get(method) ?? ['rpc.request', undefined];
  const subject = member === undefined ? method : params[member];
  const traceId = TRACEPARENT.exec(context.trace?.traceparent ?? '')?.[1];
  const details: JsonObject = { ...argumentsOf(params, ending.shown), ...ending.details };
  if (context.requestId !== undefined) details.requestId = context.requestId;
  return {
    type,
    time: ending.time,
    outcome: ending.outcome,
    actor: context.principal.authentication === 'anonymous' ? '-' : context.principal.id,
    target: typeof subject === 'string' ? subject : method,
    ...(ending.reason === undefined ? {} : { reason: ending.reason }),
    durationMs: ending.durationMs,
    ...(traceId === undefined ? {} : { traceId }),
    transport: context.transport,
    ...(context.remoteAddress === undefined ? {} : { remoteAddress: context.remoteAddress }),
    ...(context.sessionId === undefined ? {} : { sessionId: context.sessionId }),
    ...(Object.keys(details).length > 0 ? { details } : {}),
  };
}

function argumentsOf(params: JsonObject, shown: Ending['shown']): JsonObject {
  if (shown === 'none' || !isJsonObject(params.arguments)) return {};
  return shown === 'values' ? { arguments: params.arguments } : { argumentKeys: Object.keys(params.arguments).sort() };
}

function outcomeDetails(result: RpcResult): JsonObject | undefined {
  if (result.isError === true) return { code: 'tool_error' };
  return result.resultType === 'input_required' ? { resultType: 'input_required' } : undefined;
}

/** What a failed tool said about it. */
function firstText(result: RpcResult): string | undefined {
  const content = Array.isArray(result.content) ? result.content : [];
  for (const item of content) if (isJsonObject(item) && typeof item.text === 'string') return item.text;
  return undefined;
}

function describe(error: unknown): string {
  if (isRpcError(error)) return error.auditReason ?? error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : 'something that is no Error was thrown';
}
