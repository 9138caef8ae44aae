import type { AuditEvent, AuditSink, Clock, JsonObject, RpcContext } from '@mcp-blocks/core';

/** What happened, beside who and when. */
export type AuditEntry = Pick<AuditEvent, 'type' | 'outcome' | 'target' | 'reason' | 'durationMs' | 'details'>;

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

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
    const event: Writable<AuditEvent> = {
      ...entry,
      time: this.#clock.now(),
      actor: context === undefined || context.principal.authentication === 'anonymous' ? '-' : context.principal.id,
    };
    if (target !== undefined) event.target = clipped(target);
    if (reason !== undefined) event.reason = clipped(reason);
    if (context !== undefined) {
      const { trace, transport, remoteAddress, sessionId } = context;
      const traceId = trace?.traceparent === undefined ? undefined : TRACEPARENT.exec(trace.traceparent)?.[1];
      if (traceId !== undefined) event.traceId = traceId;
      event.transport = transport;
      if (remoteAddress !== undefined) event.remoteAddress = remoteAddress;
      if (sessionId !== undefined) event.sessionId = sessionId;
    }
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
