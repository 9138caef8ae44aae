import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditEvent } from '@mcp-blocks/core';
import { onTestFinished } from 'vitest';
import { type ChainedAuditSinkOptions, FileAuditSink, readAuditTrail, SqliteAuditSink } from '../src/index.js';

export const KINDS = ['file', 'sqlite'] as const;
export type Kind = (typeof KINDS)[number];

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-audit-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function trailPath(kind: Kind): string {
  return join(temporaryFolder(), kind === 'file' ? 'audit.jsonl' : 'audit.sqlite');
}

export function openSink(kind: Kind, path: string, options: ChainedAuditSinkOptions = {}) {
  return kind === 'file' ? new FileAuditSink({ path, ...options }) : new SqliteAuditSink({ path, ...options });
}

export function event(time: number, details?: AuditEvent['details']): AuditEvent {
  return { type: 'tool.call', time, outcome: 'succeeded', actor: 'alice', ...(details === undefined ? {} : { details }) };
}

export async function eventsOf(path: string): Promise<AuditEvent[]> {
  const events: AuditEvent[] = [];
  for await (const record of readAuditTrail(path)) events.push(record.event);
  return events;
}
