import type { IncomingMessage } from 'node:http';
import {
  type CancelTimer,
  type Clock,
  isJsonRpcRequest,
  type JsonObject,
  type JsonRpcMessage,
  type JsonRpcRequest,
  type JsonRpcResponse,
  parseJsonRpc,
  RpcError,
  sleep,
} from '@mcp-blocks/core';
import { EventStreamParser } from './event-stream.js';
import { type HttpChannel, HttpFailure, readText } from './http-channel.js';
import { toRefusal } from './http-refusal.js';
import { ParameterHeaders } from './parameter-headers.js';
import type { MessageId, Remote, RemoteEvents } from './remote.js';
import { isModern, modernHeaders } from './request-headers.js';

/** Bounds and time of {@link HttpRemote}. */
export interface HttpRemoteOptions {
  readonly maxMessageBytes: number;
  readonly maxJsonDepth: number;
  readonly clock: Clock;
}

/** A request under way. */
interface Exchange {
  readonly request: JsonRpcRequest;
  readonly modern: boolean;
  readonly abort: AbortController;
}

/** A stream of one response: what its events told, for going on after it broke. */
interface StreamEnd {
  readonly answered: boolean;
  readonly lastEventId: string | undefined;
  readonly retryMs: number;
}

const ACCEPT = { accept: 'application/json, text/event-stream' };
const HEADER_MISMATCH = -32020;
const RETRY_MS = 1000;
/** A server that ends its streams at once and asks to be asked again at once is not. */
const MIN_RETRY_MS = 50;
const MAX_RESUMPTIONS = 5;
const MAX_LIST_PAGES = 50;
const GOODBYE_MS = 1000;

/**
 * A server behind Streamable HTTP, in both eras: a POST for each message, with the headers its era asks for;
 * sessions, the GET stream and resumption in the legacy one.
 */
export class HttpRemote implements Remote {
  readonly connectionBound = false;
  readonly #channel: HttpChannel;
  readonly #options: HttpRemoteOptions;
  readonly #events: RemoteEvents;
  readonly #parameters = new ParameterHeaders();
  readonly #exchanges = new Map<MessageId, Exchange>();
  readonly #life = new AbortController();
  #sessionId: string | undefined;
  #protocolVersion: string | undefined;
  /** The legacy era's GET stream: wanted from `notifications/initialized` on. */
  #listening: AbortController | undefined;
  #wantsStream = false;
  #streamEventId: string | undefined;

  constructor(channel: HttpChannel, options: HttpRemoteOptions, events: RemoteEvents) {
    this.#channel = channel;
    this.#options = options;
    this.#events = events;
  }

  async open(): Promise<void> {
    await this.#channel.probe();
    if (this.#wantsStream && this.#listening === undefined) this.#listen();
  }

  async send(message: JsonRpcMessage): Promise<void> {
    if (isJsonRpcRequest(message)) {
      void this.#exchange(message);
      return;
    }
    if ('method' in message && message.method === 'notifications/cancelled') {
      const exchange = this.#exchanges.get(message.params?.requestId as MessageId);
      // Modern: closing the response stream is the cancellation. Legacy: the notification is.
      if (exchange?.modern !== true) await this.#notify(message);
      exchange?.abort.abort();
      return;
    }
    await this.#notify(message);
  }

  async close(): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#life.abort();
    if (this.#sessionId !== undefined) {
      const goodbye = new AbortController();
      const cancel: CancelTimer = this.#options.clock.setTimeout(() => goodbye.abort(), GOODBYE_MS);
      const headers = this.#legacyHeaders();
      await this.#channel.request('DELETE', headers, undefined, goodbye.signal).then(
        (response) => response.resume(),
        () => {},
      );
      cancel();
    }
    this.#channel.close();
  }

  async #exchange(request: JsonRpcRequest): Promise<void> {
    const exchange: Exchange = { request, modern: isModern(request), abort: new AbortController() };
    if (request.method === 'initialize') this.#forgetSession();
    this.#exchanges.set(request.id, exchange);
    try {
      await this.#answer(exchange, true);
    } catch (error) {
      if (!exchange.abort.signal.aborted && !this.#life.signal.aborted) this.#failed(exchange, error);
    } finally {
      if (this.#exchanges.get(request.id) === exchange) this.#exchanges.delete(request.id);
    }
  }

  /** Sends a request and passes on what comes for it. `learn`: whether to look up a tool's headers and try again. */
  async #answer(exchange: Exchange, learn: boolean): Promise<void> {
    const { request } = exchange;
    const signal = AbortSignal.any([exchange.abort.signal, this.#life.signal]);
    const headers = exchange.modern ? modernHeaders(request, this.#parameters) : this.#legacyHeaders();
    const session = exchange.modern ? undefined : this.#sessionId;
    const response = await this.#channel.request('POST', { ...headers, ...ACCEPT, ...JSON_BODY }, JSON.stringify(request), signal);
    const status = response.statusCode ?? 0;
    if (mediaType(response) === 'text/event-stream' && status < 300) {
      if (request.method === 'initialize') this.#startSession(response);
      await this.#answerFromStream(exchange, response, signal);
      return;
    }
    const answer = await this.#bodyAnswer(response, request.id);
    if (status === 404 && session !== undefined) return this.#sessionLost(session, request.id);
    if (status === 401 || (answer === undefined && status >= 300)) throw new StatusFailure(status);
    if (answer === undefined) throw new RpcError('upstream_error', 'The server sent no answer to the request');
    if (status < 300 && request.method === 'initialize') this.#startSession(response);
    if (learn && exchange.modern && answer.error?.code === HEADER_MISMATCH && request.method === 'tools/call') {
      await this.#learnTools(request, signal);
      await this.#answer(exchange, false);
      return;
    }
    await this.#deliver(exchange, answer);
  }

  async #answerFromStream(exchange: Exchange, first: IncomingMessage, signal: AbortSignal): Promise<void> {
    let end = await this.#readStream(first, exchange);
    // The legacy era's streams can be resumed where their events have ids.
    for (let attempt = 0; !end.answered; attempt += 1) {
      if (exchange.modern || end.lastEventId === undefined || attempt === MAX_RESUMPTIONS) throw new HttpFailure(true, undefined);
      await sleep(this.#options.clock, end.retryMs, signal);
      const headers = { ...this.#legacyHeaders(), accept: 'text/event-stream', ...resumeAfter(end.lastEventId) };
      try {
        const response = await this.#channel.request('GET', headers, undefined, signal);
        if (response.statusCode !== 200) {
          response.resume();
          throw new HttpFailure(true, undefined);
        }
        end = await this.#readStream(response, exchange, end);
      } catch (error) {
        if (!(error instanceof HttpFailure) || error.sent) throw error;
      }
    }
  }

  /** Passes on the events of a stream until it ends or breaks. */
  async #readStream(response: IncomingMessage, exchange: Exchange | undefined, before?: StreamEnd): Promise<StreamEnd> {
    const parser = new EventStreamParser(this.#options.maxMessageBytes);
    let answered = false;
    const end = () => ({
      answered,
      lastEventId: parser.lastEventId ?? before?.lastEventId,
      retryMs: Math.max(MIN_RETRY_MS, parser.retryMs ?? before?.retryMs ?? RETRY_MS),
    });
    try {
      for await (const chunk of response.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        for (const { data, type } of parser.push(chunk)) {
          // An event without data is there for its id.
          if (type !== 'message' || data === '') continue;
          const message = this.#parse(data);
          if (message === undefined) continue;
          const isAnswer = exchange !== undefined && !('method' in message) && message.id === exchange.request.id;
          if (isAnswer) await this.#deliver(exchange, message);
          else await this.#events.message(message);
          answered ||= isAnswer;
        }
        if (exchange === undefined) this.#streamEventId = parser.lastEventId ?? this.#streamEventId;
        if (answered) break;
      }
    } catch (error) {
      response.destroy();
      if (error instanceof RpcError) throw error;
    }
    if (answered) this.#expectEnd(response);
    return end();
  }

  /** Lets the server end the stream, so that its connection can be used again. */
  #expectEnd(response: IncomingMessage): void {
    const cancel = this.#options.clock.setTimeout(() => response.destroy(), GOODBYE_MS);
    response.on('close', cancel).resume();
  }

  async #deliver({ request, modern }: Exchange, answer: JsonRpcResponse): Promise<void> {
    const { result } = answer;
    if (request.method === 'initialize') this.#protocolVersion = headerValue(result?.protocolVersion);
    if (modern && request.method === 'tools/list' && result !== undefined) {
      await this.#events.message({ ...answer, result: this.#parameters.learn(result, (text) => this.#events.warn(text)) });
    } else await this.#events.message(answer);
  }

  /** Reads the tool list with the caller's own `_meta`, to know which arguments go into headers. */
  async #learnTools({ params }: JsonRpcRequest, signal: AbortSignal): Promise<void> {
    let cursor: JsonObject = {};
    for (let page = 0; page < MAX_LIST_PAGES; page += 1) {
      const request = { jsonrpc: '2.0', id: 0, method: 'tools/list', params: { ...cursor, _meta: params?._meta } } as const;
      const headers = { ...modernHeaders(request, this.#parameters), ...ACCEPT, ...JSON_BODY };
      const response = await this.#channel.request('POST', headers, JSON.stringify(request), signal);
      const answer = await this.#bodyAnswer(response, 0);
      if (answer?.result === undefined) return;
      this.#parameters.learn(answer.result, () => {});
      if (typeof answer.result.nextCursor !== 'string') return;
      cursor = { cursor: answer.result.nextCursor };
    }
  }

  async #notify(message: JsonRpcMessage): Promise<void> {
    try {
      const headers = 'method' in message && isModern(message) ? modernHeaders(message, this.#parameters) : this.#legacyHeaders();
      const session = this.#sessionId;
      const body = JSON.stringify(message);
      const response = await this.#channel.request('POST', { ...headers, ...ACCEPT, ...JSON_BODY }, body, this.#life.signal);
      response.resume();
      const status = response.statusCode ?? 0;
      if (status === 404 && session !== undefined) this.#sessionLost(session);
      else if (status >= 300) this.#events.debug(`A notification or response was refused with HTTP ${status}`);
      else if ('method' in message && message.method === 'notifications/initialized') {
        this.#wantsStream = true;
        this.#listen();
      }
    } catch (error) {
      if (this.#life.signal.aborted) return;
      this.#events.lost({ error: unreachable(error), inFlight: 'separate', session: false });
    }
  }

  /** Keeps the legacy era's GET stream open, until it turns out that there is none or the way is lost. */
  #listen(): void {
    this.#listening?.abort();
    const own = new AbortController();
    this.#listening = own;
    const signal = AbortSignal.any([own.signal, this.#life.signal]);
    const session = this.#sessionId;
    const run = async () => {
      for (;;) {
        const headers = { ...this.#legacyHeaders(), ...resumeAfter(this.#streamEventId), accept: 'text/event-stream' };
        const response = await this.#channel.request('GET', headers, undefined, signal);
        if (response.statusCode !== 200) {
          response.resume();
          if (response.statusCode === 404 && session !== undefined) this.#sessionLost(session);
          else if (response.statusCode !== undefined && response.statusCode >= 500) throw new StatusFailure(response.statusCode);
          else this.#wantsStream = false;
          return;
        }
        const { retryMs } = await this.#readStream(response, undefined);
        await sleep(this.#options.clock, retryMs, signal);
      }
    };
    run().catch((error: unknown) => {
      if (signal.aborted) return;
      this.#listening = undefined;
      this.#events.lost({ error: unreachable(error), inFlight: 'separate', session: false });
    });
  }

  #failed({ request }: Exchange, error: unknown): void {
    if (error instanceof StatusFailure) {
      const refusal = toRefusal(error.status);
      this.#events.failed(request.id, refusal.outcome, refusal.error);
      if (refusal.outcome !== 'refused') this.#events.lost({ error: refusal.error, inFlight: 'separate', session: false });
      return;
    }
    if (error instanceof RpcError) {
      this.#events.failed(request.id, 'refused', error);
      return;
    }
    const outcome = error instanceof HttpFailure && !error.sent ? 'not-started' : 'unknown';
    this.#events.failed(request.id, outcome, unreachable(error));
    this.#events.lost({ error: unreachable(error), inFlight: 'separate', session: false });
  }

  /** The server does not know `session`; the request `id` found that out. */
  #sessionLost(session: string, id?: MessageId): void {
    const error = new RpcError('unavailable', 'The server does not know the session any more');
    if (id !== undefined) this.#events.failed(id, 'not-started', error);
    if (session !== this.#sessionId) return;
    this.#forgetSession();
    this.#events.lost({ error, inFlight: 'separate', session: true });
  }

  #startSession(response: IncomingMessage): void {
    const id = response.headers['mcp-session-id'];
    this.#sessionId = headerValue(id);
  }

  #forgetSession(): void {
    this.#listening?.abort();
    this.#listening = undefined;
    this.#wantsStream = false;
    this.#streamEventId = undefined;
    this.#sessionId = undefined;
    this.#protocolVersion = undefined;
  }

  /** The JSON-RPC answer to `id` in a body, whatever its status; `undefined` where there is none. */
  async #bodyAnswer(response: IncomingMessage, id: MessageId): Promise<JsonRpcResponse | undefined> {
    const json = mediaType(response) === 'application/json';
    if (!json) {
      response.resume();
      return undefined;
    }
    const message = this.#parse(await readText(response, this.#options.maxMessageBytes));
    return message !== undefined && !('method' in message) && message.id === id ? message : undefined;
  }

  #parse(text: string): JsonRpcMessage | undefined {
    try {
      return parseJsonRpc(text, this.#options);
    } catch (error) {
      this.#events.debug(`The server sent what is no JSON-RPC message: ${(error as Error).message}`);
      return undefined;
    }
  }

  #legacyHeaders(): Record<string, string> {
    return {
      ...(this.#protocolVersion === undefined ? {} : { 'mcp-protocol-version': this.#protocolVersion }),
      ...(this.#sessionId === undefined ? {} : { 'mcp-session-id': this.#sessionId }),
    };
  }
}

const JSON_BODY = { 'content-type': 'application/json' };

/** A response that is no answer. */
class StatusFailure extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

/** What a server said, where it can be sent back in a header. */
function headerValue(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value) ? value : undefined;
}

/** In UTF-8 (WHATWG HTML, 9.2.3), which Node writes as it is when each byte is a character. */
function resumeAfter(eventId: string | undefined): Record<string, string> {
  return eventId === undefined ? {} : { 'last-event-id': Buffer.from(eventId).toString('latin1') };
}

function unreachable(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (error instanceof StatusFailure) return toRefusal(error.status).error;
  const cause = error instanceof HttpFailure ? error.cause : error;
  return new RpcError('unavailable', 'The connection to the server failed', { cause });
}

function mediaType(response: IncomingMessage): string | undefined {
  return response.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
}
