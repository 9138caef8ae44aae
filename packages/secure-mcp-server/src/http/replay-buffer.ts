import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server';

interface StoredEvent {
  readonly streamId: string;
  readonly message: JSONRPCMessage;
  readonly bytes: number;
}

/** What an event takes beside its message, roughly. */
const EVENT_OVERHEAD_BYTES = 200;

/**
 * Remembers what was sent on the event streams of legacy sessions, so that a client whose connection
 * broke resumes with `Last-Event-ID` (MCP 2025-11-25, transports, "Resumability and Redelivery"). One
 * buffer serves all sessions; when it is full the oldest events go first.
 */
export class ReplayBuffer {
  readonly #maxBytes: number;
  /** The session of each event by the event's id, oldest first. */
  readonly #order = new Map<string, string>();
  /** By session, then by event id, oldest first. */
  readonly #sessions = new Map<string, Map<string, StoredEvent>>();
  #bytes = 0;
  #lastId = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The SDK's view of the buffer for one session, which sees no other session's events. */
  storeFor(session: string): EventStore {
    return {
      storeEvent: (streamId, message) => Promise.resolve(this.#store(session, streamId, message)),
      getStreamIdForEventId: (eventId) => Promise.resolve(this.#sessions.get(session)?.get(eventId)?.streamId),
      replayEventsAfter: async (lastEventId, { send }) => {
        const events = this.#sessions.get(session);
        const last = events?.get(lastEventId);
        if (events === undefined || last === undefined) throw new Error('The event is no longer held');
        for (const [eventId, { streamId, message }] of [...events]) {
          // The SDK stores an empty message to have an id for the event that opens a stream.
          if (Number(eventId) <= Number(lastEventId) || streamId !== last.streamId || !('jsonrpc' in message)) continue;
          await send(eventId, message);
        }
        return last.streamId;
      },
    };
  }

  /** Forgets a session. */
  drop(session: string): void {
    for (const eventId of [...(this.#sessions.get(session)?.keys() ?? [])]) this.#delete(eventId, session);
  }

  #store(session: string, streamId: string, message: JSONRPCMessage): string {
    const eventId = String(++this.#lastId);
    const bytes = JSON.stringify(message).length + EVENT_OVERHEAD_BYTES;
    const events = this.#sessions.get(session) ?? new Map<string, StoredEvent>();
    this.#sessions.set(session, events.set(eventId, { streamId, message, bytes }));
    this.#order.set(eventId, session);
    this.#bytes += bytes;
    for (const [oldest, owner] of this.#order) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#delete(oldest, owner);
    }
    return eventId;
  }

  #delete(eventId: string, session: string): void {
    const events = this.#sessions.get(session);
    this.#bytes -= events?.get(eventId)?.bytes ?? 0;
    events?.delete(eventId);
    if (events?.size === 0) this.#sessions.delete(session);
    this.#order.delete(eventId);
  }
}
