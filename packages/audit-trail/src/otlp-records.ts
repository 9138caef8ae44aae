import type { AuditEvent, JsonValue } from '@mcp-blocks/core';

type AnyValue =
  | { stringValue: string }
  | { boolValue: boolean }
  | { intValue: string }
  | { doubleValue: number }
  | { arrayValue: { values: AnyValue[] } }
  | { kvlistValue: { values: KeyValue[] } };
interface KeyValue {
  key: string;
  value: AnyValue;
}

/** OpenTelemetry's numbers: INFO, WARN, ERROR. */
const SEVERITY = { allowed: [9, 'INFO'], succeeded: [9, 'INFO'], denied: [13, 'WARN'], failed: [17, 'ERROR'] } as const;

/** An event as a LogRecord in the JSON encoding of OTLP 1.x. @param text - the event as canonical JSON. */
export function logRecord(text: string, uid: string, observedMs: number): object {
  const event = JSON.parse(text) as AuditEvent;
  const [severityNumber, severityText] = SEVERITY[event.outcome];
  const attributes: Record<string, JsonValue | undefined> = {
    'log.record.uid': uid,
    'mcp_blocks.audit.outcome': event.outcome,
    'enduser.id': event.actor,
    'mcp_blocks.audit.target': event.target,
    'mcp_blocks.audit.reason': event.reason,
    'mcp_blocks.audit.duration_ms': event.durationMs,
    'network.transport': event.transport,
    'client.address': event.remoteAddress,
    'mcp.session.id': event.sessionId,
    'mcp_blocks.audit.details': event.details,
  };
  return {
    timeUnixNano: nanos(event.time),
    observedTimeUnixNano: nanos(observedMs),
    severityNumber,
    severityText,
    eventName: event.type,
    body: { stringValue: text },
    attributes: pairs(attributes),
    ...(/^(?!0{32})[0-9a-f]{32}$/.test(event.traceId ?? '') ? { traceId: event.traceId } : {}),
  };
}

export function pairs(members: Readonly<Record<string, JsonValue | undefined>>): KeyValue[] {
  return Object.entries(members).flatMap(([key, value]) =>
    value === undefined || value === null ? [] : [{ key, value: anyValue(value) }],
  );
}

function anyValue(value: JsonValue): AnyValue {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  // 64-bit integers are decimal strings in protobuf's JSON.
  if (typeof value === 'number') return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  // An item of a list that is null is an empty AnyValue.
  if (Array.isArray(value)) return { arrayValue: { values: value.map((item) => (item === null ? ({} as AnyValue) : anyValue(item))) } };
  return { kvlistValue: { values: pairs(value ?? {}) } };
}

/** Milliseconds as a decimal string of nanoseconds; what is no time that fits is 0, unknown. */
function nanos(ms: number): string {
  return ms > 0 && ms < 1.8e13 ? String(BigInt(Math.round(ms * 1_000)) * 1_000n) : '0';
}
