import { ConfigurationError, canonicalJson, type JsonObject } from '@mcp-blocks/core';
import type { AuditFilter } from './filter.js';
import { findRecords } from './query.js';
import { type AuditRecord, recordText } from './record.js';
import type { StoredTrail } from './trail.js';
import { visibleText } from './visible-text.js';

/** Options of {@link exportAuditTrail}. */
export interface ExportOptions extends AuditFilter {
  /** `jsonl`: the records as they are stored, a line each. `csv`: a table, RFC 4180. */
  readonly format: 'jsonl' | 'csv';
}

/**
 * The records that match, as text, a piece a record (CSV begins with its header).
 *
 * In CSV, lines end with CR LF, times are ISO 8601, `details` is canonical JSON, and text that a
 * spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab, a line end or their
 * full-width forms) has an apostrophe before it; control characters and marks that turn text around are written
 * out (`\u001b`).
 *
 * @throws as `queryAuditTrail` does.
 */
export async function* exportAuditTrail(source: string | StoredTrail, { format, ...filter }: ExportOptions): AsyncGenerator<string> {
  if (format !== 'csv' && format !== 'jsonl') throw new ConfigurationError('format', `expected 'csv' or 'jsonl', got '${String(format)}'`);
  if (format === 'csv') yield line(COLUMNS);
  for await (const record of findRecords(source, filter)) yield format === 'csv' ? line(cells(record)) : `${recordText(record)}\n`;
}

const COLUMNS = [
  ...['seq', 'time', 'type', 'outcome', 'actor', 'target', 'reason', 'durationMs', 'traceId', 'transport', 'remoteAddress', 'sessionId'],
  ...['details', 'prev', 'hash'],
];

function cells({ seq, event, prev, hash }: AuditRecord): string[] {
  const texts = [event.type, event.outcome, event.actor, event.target, event.reason];
  const origin = [event.traceId, event.transport, event.remoteAddress, event.sessionId];
  return [
    String(seq),
    timeText(event.time),
    ...texts.map(harmless),
    event.durationMs === undefined ? '' : String(event.durationMs),
    ...origin.map(harmless),
    event.details === undefined ? '' : visibleText(canonicalJson(event.details as JsonObject)),
    prev,
    hash,
  ];
}

function timeText(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toISOString();
}

function harmless(text = ''): string {
  const visible = visibleText(text);
  return /^[=+\-@\t\r\n＝＋－＠]/.test(visible) ? `'${visible}` : visible;
}

function line(values: readonly string[]): string {
  return `${values.map((value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(',')}\r\n`;
}
