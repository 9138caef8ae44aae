import { type AuditEvent, type AuditOutcome, ConfigurationError } from '@mcp-blocks/core';

/** Which records: those that have all of these. */
export interface AuditFilter {
  readonly actor?: string;
  readonly type?: string;
  readonly target?: string;
  readonly outcome?: AuditOutcome;
  /** Events at this time or later, epoch milliseconds. */
  readonly from?: number;
  /** Events before this time, epoch milliseconds. */
  readonly to?: number;
}

/** The members of a filter that an event must equal. */
export const FILTER_FIELDS = ['actor', 'type', 'target', 'outcome'] as const;

const OUTCOMES: readonly AuditOutcome[] = ['allowed', 'denied', 'succeeded', 'failed'];

/** @throws ConfigurationError naming the member that is wrong. */
export function checkFilter(filter: AuditFilter): void {
  for (const field of FILTER_FIELDS) {
    const value = filter[field];
    if (value !== undefined && typeof value !== 'string') throw new ConfigurationError(field, `expected a string, got ${String(value)}`);
  }
  if (filter.outcome !== undefined && !OUTCOMES.includes(filter.outcome)) {
    throw new ConfigurationError('outcome', `expected one of ${OUTCOMES.join(', ')}, got '${filter.outcome}'`);
  }
  for (const field of ['from', 'to'] as const) {
    const value = filter[field];
    if (value !== undefined && !Number.isFinite(value)) throw new ConfigurationError(field, `expected epoch milliseconds, got ${value}`);
  }
}

export function matches(filter: AuditFilter, event: AuditEvent): boolean {
  return (
    FILTER_FIELDS.every((field) => filter[field] === undefined || filter[field] === event[field]) &&
    (filter.from === undefined || event.time >= filter.from) &&
    (filter.to === undefined || event.time < filter.to)
  );
}
