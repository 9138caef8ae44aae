import { type Clock, isRpcError, type JsonObject, type RpcContext, RpcError, type RpcResult } from '@mcp-blocks/core';
import type { AuditLog } from './audit-log.js';
import { RefusedCall } from './refused-call.js';

/** What a handler's run came to. `failure` says, for the audit trail, why a result is one of failure. */
export interface Outcome {
  readonly result: RpcResult;
  readonly failure?: string;
}

/** One execution, as the audit trail knows it. */
export interface Execution {
  readonly type: 'tool.call' | 'resource.read' | 'prompt.get';
  readonly target: string;
  readonly details?: JsonObject;
}

/**
 * Runs a handler and records exactly one audit event, however it ends. When the caller's signal aborts,
 * the caller gets its answer at once and the event says that the handler was still at work.
 */
export async function execute(
  execution: Execution,
  context: RpcContext,
  { audit, clock }: { readonly audit: AuditLog; readonly clock: Clock },
  run: () => Promise<Outcome>,
): Promise<RpcResult> {
  const startedAt = clock.now();
  const record = (failure: string | undefined, details?: JsonObject, refusedAs?: string) => {
    const all = details === undefined ? execution.details : { ...execution.details, ...details };
    audit.record(
      {
        type: refusedAs ?? execution.type,
        target: execution.target,
        outcome: refusedAs !== undefined ? 'denied' : failure === undefined ? 'succeeded' : 'failed',
        durationMs: clock.now() - startedAt,
        ...(failure === undefined ? {} : { reason: failure }),
        ...(all === undefined ? {} : { details: all }),
      },
      context,
    );
  };
  try {
    const { result, failure } = await untilAborted(context.signal, run);
    record(failure, result.resultType === 'input_required' ? { resultType: 'input_required' } : undefined);
    return result;
  } catch (error) {
    const reason = isRpcError(error) ? (error.auditReason ?? error.message) : describe(error);
    record(reason, undefined, error instanceof RefusedCall ? error.auditType : undefined);
    throw error;
  }
}

/** An error as the audit trail and `onError` name it. */
export function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${String(error)}`;
}

function untilAborted<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  if (signal.aborted) return Promise.reject(cancellation(signal, 'cancelled before it started'));
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(cancellation(signal, 'cancelled; the handler was still at work'));
    signal.addEventListener('abort', onAbort, { once: true });
    run().then(
      (result) => {
        signal.removeEventListener('abort', onAbort);
        resolve(result);
      },
      (error: Error) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

function cancellation(signal: AbortSignal, auditReason: string): RpcError {
  // A listener that aborts for a reason of its own, such as a deadline, says so to the caller.
  const { reason } = signal as { reason: unknown };
  const [code, message] = isRpcError(reason)
    ? ([reason.code, reason.message] as const)
    : (['cancelled', 'The request was cancelled'] as const);
  return new RpcError(code, message, { auditReason: `${code === 'cancelled' ? '' : `${code}: `}${auditReason}`, cause: reason });
}
