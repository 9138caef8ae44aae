import type { AuditEvent, AuditSink, Clock, JsonObject, RpcContext } from '@mcp-blocks/core';

/** What happened, beside who and when. */
export type AuditEntry = Pick<AuditEvent, 'type' | 'outcome' | 'target' | 'reason' | 'durationMs' | 'details'>;

const MAX_TEXT = 256;
const MAX_KEYS = 32;
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/;

/** Writes the registry's audit events. A sink that refuses one is reported and fails no call. */
export class AuditLog {
  readonly #sink: AuditSink | undefined;
  readonly #clock: Clock;
  readonly #onError: (error: Error) => void;

  constructor(sink: AuditSink | undefined, clock: Clock, onError: (error: Error) => void) {
    this.#sink = sink;
    this.#clock = clock;
    this.#onError = onError;
  }

  /** @param context - of the request; absent for what the program does itself. */
  record({ target, reason, ...entry }: AuditEntry, context?: RpcContext): void {
    if (this.#sink === undefined) return;
    const traceId = TRACEPARENT.exec(context?.trace?.traceparent ?? '')?.[1];
    const event: AuditEvent = {
      ...entry,
      time: this.#clock.now(),
      actor: context === undefined || context.principal.authentication === 'anonymous' ? '-' : context.principal.id,
      ...(target === undefined ? {} : { target: clipped(target) }),
      ...(reason === undefined ? {} : { reason: clipped(reason) }),
      ...(traceId === undefined ? {} : { traceId }),
      ...(context === undefined ? {} : { transport: context.transport }),
      ...(context?.remoteAddress === undefined ? {} : { remoteAddress: context.remoteAddress }),
      ...(context?.sessionId === undefined ? {} : { sessionId: context.sessionId }),
    };
    try {
      this.#sink.record(event);
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** Text of a caller's making, bounded: it goes into every audit record and error message. */
export function clipped(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`;
}

/** The names of the arguments, never their values. */
export function argumentKeys(args: JsonObject): JsonObject {
  return { argumentKeys: Object.keys(args).slice(0, MAX_KEYS).map(clipped).sort() };
}
