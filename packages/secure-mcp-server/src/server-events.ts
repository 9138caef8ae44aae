import type { AuditEvent } from '@mcp-blocks/core';

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
  readonly authFailure: { readonly transport: string; readonly remoteAddress?: string; readonly reason: string };
  readonly rateLimited: { readonly method: string; readonly principal: string; readonly transport: string };
  /** A failure that no caller was told the details of. */
  readonly error: Error;
  /** Every event that also goes to the audit sink. */
  readonly securityEvent: AuditEvent;
  readonly statusChange: { readonly from: ServerStatus; readonly to: ServerStatus };
}

/** Typed events. A listener that throws harms no other and not the server. */
export class ServerEventHub {
  readonly #listeners = new Map<keyof ServerEvents, Set<(event: never) => void>>();

  /** Returns the function that ends the subscription. */
  on<Name extends keyof ServerEvents>(name: Name, listener: (event: ServerEvents[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    const own = (event: never) => listener(event);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  emit<Name extends keyof ServerEvents>(name: Name, event: ServerEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as (event: ServerEvents[Name]) => void)(event);
      } catch {
        // A listener's failure is its own.
      }
    }
  }
}
