import type { AuditEvent, EndedSession } from '@mcp-blocks/core';

/** Where a server is in its life. */
export type ServerStatus = 'created' | 'starting' | 'running' | 'draining' | 'stopped' | 'error';

/** A finished request. */
export interface RequestEvent {
  readonly method: string;
  /** The principal's id. */
  readonly principal: string;
  readonly transport: string;
  readonly durationMs: number;
  /** The code of the failure; absent when the request succeeded. */
  readonly errorCode?: string;
}

/** What a server tells about itself, by event name. */
export interface ServerEvents {
  readonly request: RequestEvent;
  /** A legacy session, or a connection of another transport than HTTP, has ended. */
  readonly sessionEnded: EndedSession;
  readonly authFailure: { readonly transport: string; readonly remoteAddress?: string; readonly reason: string };
  readonly rateLimited: { readonly method: string; readonly principal: string; readonly transport: string };
  /** A failure that no caller was told the details of. */
  readonly error: Error;
  /** Every event that also goes to the audit sink. */
  readonly securityEvent: AuditEvent;
  readonly statusChange: { readonly from: ServerStatus; readonly to: ServerStatus };
}
