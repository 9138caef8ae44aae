import { isJsonObject, type JsonObject } from '@mcp-blocks/core';
import type { JSONRPCMessage, RequestId, Transport, TransportSendOptions } from '@modelcontextprotocol/client';
import { Deferred } from './deferred.js';

/** Says whose message one is, between the SDK's client and the transport; never sent. */
const FLIGHT_HEADER = 'mcp-blocks-flight';

/** What became of one request on the wire. */
export class Flight {
  /** Whether the transport was given the request. */
  sent = false;
  /** Whether it was sent again with answers to the server's questions. */
  interactive = false;
  /** What the transport said when it could not send. */
  sendError: unknown;
  /** Rejects, with `lostBy`, when the response can no longer come. */
  readonly lost: Promise<never>;
  lostBy: Error | undefined;
  /** Given to the SDK with the request; comes back with every message it sends for it. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #reject: (error: Error) => void;

  constructor(id: number) {
    this.headers = { [FLIGHT_HEADER]: String(id) };
    const { promise, reject } = new Deferred<never>();
    promise.catch(() => {});
    this.lost = promise;
    this.#reject = reject;
  }

  lose(error: Error): void {
    this.lostBy = error;
    this.#reject(error);
  }
}

/**
 * A transport as it is, watched: which requests went out, which lost the stream of their response, and
 * what the server notified. The SDK's client tells none of the three.
 */
export class ObservedTransport implements Transport {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: Transport['onmessage'];
  readonly hasPerRequestStream: boolean;
  readonly #inner: Transport;
  readonly #flights = new Map<string, Flight>();
  /** Flights by the ids of their requests that have no response yet. */
  readonly #unanswered = new Map<RequestId, Flight>();
  #nextFlight = 1;
  #closed = false;

  constructor(inner: Transport, onNotification: (method: string, params: JsonObject) => void) {
    this.#inner = inner;
    this.hasPerRequestStream = inner.hasPerRequestStream ?? false;
    inner.onclose = () => {
      this.#closed = true;
      this.onclose?.();
    };
    inner.onerror = (error) => this.onerror?.(error);
    inner.onmessage = (message, extra) => {
      if (!('method' in message)) {
        if (message.id !== undefined) this.#unanswered.delete(message.id);
      } else if (!('id' in message)) {
        onNotification(message.method, isJsonObject(message.params) ? message.params : {});
      }
      this.onmessage?.(message, extra);
    };
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  /** Begins to watch a request. */
  track(): Flight {
    const id = this.#nextFlight++;
    const flight = new Flight(id);
    this.#flights.set(String(id), flight);
    return flight;
  }

  release(flight: Flight): void {
    this.#flights.delete(flight.headers[FLIGHT_HEADER] as string);
    for (const [id, owner] of this.#unanswered) if (owner === flight) this.#unanswered.delete(id);
  }

  /** No response can come any longer. */
  loseAll(error: Error): void {
    for (const flight of this.#flights.values()) flight.lose(error);
  }

  start(): Promise<void> {
    return this.#inner.start();
  }

  async send(message: JSONRPCMessage, options?: TransportSendOptions): Promise<void> {
    const { [FLIGHT_HEADER]: tag, ...headers } = options?.headers ?? {};
    const flight = tag === undefined ? undefined : this.#flights.get(tag);
    const untagged = tag === undefined ? options : { ...options, headers };
    if (flight === undefined || !('method' in message) || !('id' in message)) return this.#inner.send(message, untagged);
    const { id } = message;
    if (this.#closed) {
      flight.sendError = new Error('The connection is closed');
      throw flight.sendError;
    }
    if (message.params?.inputResponses !== undefined || message.params?.requestState !== undefined) flight.interactive = true;
    flight.sent = true;
    this.#unanswered.set(id, flight);
    try {
      await this.#inner.send(message, {
        ...untagged,
        onRequestStreamEnd: () => {
          // A stream also ends after its response.
          if (this.#unanswered.delete(id)) flight.lose(new Error('The response stream ended without a response'));
        },
      });
    } catch (error) {
      flight.sendError = error;
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion?.(version);
  }

  setSupportedProtocolVersions(versions: string[]): void {
    this.#inner.setSupportedProtocolVersions?.(versions);
  }
}
