import { isJsonObject, type JsonObject } from '@mcp-blocks/core';
import type {
  JSONRPCMessage,
  JSONRPCRequest,
  JSONRPCResponse,
  RequestId,
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/client';

/** Says whose message one is, between the SDK's client and the transport; never sent. */
const FLIGHT_HEADER = 'mcp-blocks-flight';

/** What became of one request on the wire. */
export class Flight {
  /** Whether the transport was given the request. */
  sent = false;
  /** Whether the server asked for input, and it may have been for this. */
  interactive = false;
  /** The server's questions that are not answered yet. */
  #questions = 0;
  /** What the transport said when it could not send. */
  sendError: unknown;
  lostBy: Error | undefined;
  /** Called, with `lostBy`, when the response can no longer come. */
  onLost: ((error: Error) => void) | undefined;
  readonly #onInput: ((isWaiting: boolean) => void) | undefined;
  /** Given to the SDK with the request; comes back with every message it sends for it. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(id: number, onInput: ((isWaiting: boolean) => void) | undefined) {
    this.#onInput = onInput;
    this.headers = { [FLIGHT_HEADER]: String(id) };
  }

  lose(error: Error): void {
    this.lostBy = error;
    this.onLost?.(error);
  }

  get isAsked(): boolean {
    return this.#questions > 0;
  }

  asked(): void {
    this.interactive = true;
    this.#questions += 1;
    if (this.#questions === 1) this.#onInput?.(true);
  }

  /** @param all - there is nobody left to answer. */
  answered(all = false): void {
    if (this.#questions === 0) return;
    this.#questions = all ? 0 : this.#questions - 1;
    if (this.#questions === 0) this.#onInput?.(false);
  }
}

/**
 * A transport as it is, watched: which requests went out, which lost the stream of their response, which wait for
 * input, and what the server notified. The SDK's client tells none of the four.
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
  /** The flights that a question of a legacy server may be about, by the question's id. */
  readonly #questions = new Map<RequestId, Set<Flight>>();
  #nextFlight = 1;
  #closed = false;

  constructor(inner: Transport, onNotification: (method: string, params: JsonObject) => void) {
    this.#inner = inner;
    this.hasPerRequestStream = inner.hasPerRequestStream ?? false;
    inner.onclose = () => {
      this.#closed = true;
      // The SDK fails requests that are on the wire; those between two rounds would learn it when the user has answered.
      for (const flight of this.#flights.values()) if (flight.isAsked) flight.lose(new Error('The connection was lost'));
      this.onclose?.();
    };
    inner.onerror = (error) => this.onerror?.(error);
    inner.onmessage = (message, extra) => {
      if (!('method' in message)) this.#responded(message);
      else if ('id' in message) this.#asked(message);
      else {
        const params = isJsonObject(message.params) ? message.params : {};
        if (message.method === 'notifications/cancelled') this.#questionEnded(params.requestId as RequestId);
        onNotification(message.method, params);
      }
      this.onmessage?.(message, extra);
    };
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  /** Begins to watch a request. */
  track(onInput?: (isWaiting: boolean) => void): Flight {
    const id = this.#nextFlight++;
    const flight = new Flight(id, onInput);
    this.#flights.set(String(id), flight);
    return flight;
  }

  release(flight: Flight): void {
    flight.answered(true);
    this.#flights.delete(flight.headers[FLIGHT_HEADER] as string);
    for (const [id, flights] of this.#questions) {
      flights.delete(flight);
      if (flights.size === 0) this.#abandon(id);
    }
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
    if (!('method' in message) && message.id !== undefined) this.#questionEnded(message.id);
    if (flight === undefined || !('method' in message) || !('id' in message)) return this.#inner.send(message, untagged);
    const { id } = message;
    if (this.#closed) {
      flight.sendError = new Error('The connection is closed');
      throw flight.sendError;
    }
    flight.answered(true);
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

  #responded(response: JSONRPCResponse): void {
    const { id } = response;
    const flight = id === undefined ? undefined : this.#unanswered.get(id);
    if (id === undefined || flight === undefined) return;
    this.#unanswered.delete(id);
    if (!('result' in response) || response.result.resultType !== 'input_required') return;
    flight.asked();
    // The server has handed it back (MCP 2026-07-28 basic/patterns/mrtr): until the next round nothing is with it.
    flight.sent = false;
  }

  /** A legacy server does not say for which of the requests it asks. */
  #asked({ id, method }: JSONRPCRequest): void {
    if (method === 'ping') return;
    const flights = new Set(this.#flights.values());
    // What is asked outside of any request is answered for its own sake.
    if (flights.size > 0) this.#questions.set(id, flights);
    for (const flight of flights) flight.asked();
  }

  /** None of the requests is left that a question may be about: nobody needs the answer. */
  #abandon(id: RequestId): void {
    this.#questions.delete(id);
    this.onmessage?.({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } });
  }

  #questionEnded(id: RequestId): void {
    for (const flight of this.#questions.get(id) ?? []) flight.answered();
    this.#questions.delete(id);
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion?.(version);
  }

  setSupportedProtocolVersions(versions: string[]): void {
    this.#inner.setSupportedProtocolVersions?.(versions);
  }
}
