import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server';

interface StoredEvent {
  readonly owner: string;
  readonly streamId: string;
  readonly message: JSONRPCMessage;
  readonly bytes: number;
}

/**
 * Remembers what was sent on the event streams of legacy sessions, so that a client whose connection
 * broke resumes with `Last-Event-ID` (MCP 2025-11-25, transports, "Resumability and Redelivery"). One
 * buffer serves all sessions; when it is full the oldest events go first.
 */
export class ReplayBuffer {
  readonly #maxBytes: number;
  /** By event id, oldest first. */
  readonly #events = new Map<string, StoredEvent>();
  #bytes = 0;
  #lastId = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The bytes of the messages held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The SDK's view of the buffer for one session, which sees no other session's events. */
  storeFor(owner: string): EventStore {
    return {
      storeEvent: (streamId, message) => Promise.resolve(this.#store({ owner, streamId, message, bytes: JSON.stringify(message).length })),
      getStreamIdForEventId: (eventId) => Promise.resolve(this.#find(owner, eventId)?.streamId),
      replayEventsAfter: async (lastEventId, { send }) => {
        const last = this.#find(owner, lastEventId);
        if (last === undefined) throw new Error('The event is no longer held');
        for (const [eventId, event] of [...this.#events]) {
          if (Number(eventId) <= Number(lastEventId)) continue;
          // The SDK stores an empty message to have an id for the event that opens a stream.
          if (event.owner !== owner || event.streamId !== last.streamId || !('jsonrpc' in event.message)) continue;
          await send(eventId, event.message);
        }
        return last.streamId;
      },
    };
  }

  /** Forgets a session. */
  drop(owner: string): void {
    for (const [eventId, event] of this.#events) if (event.owner === owner) this.#delete(eventId, event);
  }

  #store(event: StoredEvent): string {
    const eventId = String(++this.#lastId);
    this.#events.set(eventId, event);
    this.#bytes += event.bytes;
    for (const [oldest, { bytes }] of this.#events) {
      if (this.#bytes <= this.#maxBytes || oldest === eventId) break;
      this.#events.delete(oldest);
      this.#bytes -= bytes;
    }
    return eventId;
  }

  #find(owner: string, eventId: string): StoredEvent | undefined {
    const event = this.#events.get(eventId);
    return event?.owner === owner ? event : undefined;
  }

  #delete(eventId: string, event: StoredEvent): void {
    this.#events.delete(eventId);
    this.#bytes -= event.bytes;
  }
}
