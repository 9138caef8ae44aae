import {
  type Clock,
  eraOf,
  type JsonObject,
  LEGACY_PROTOCOL_VERSION,
  MODERN_PROTOCOL_VERSION,
  type ProtocolEra,
  type RpcResult,
  sleep,
} from '@mcp-blocks/core';
import { Client, type ClientCapabilities, type RequestOptions, type Transport } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { keepListening, offeredChanges } from './change-subscription.js';
import { type Answer, type Connection, type ConnectionEvents, ConnectionLostError, type SendOptions } from './connection.js';
import { Deferred } from './deferred.js';
import { type Flight, ObservedTransport } from './observed-transport.js';
import { messageOf, readOpenError, readRequestError } from './sdk-errors.js';
import { WatchedResources } from './watched-resources.js';

/** How this client presents itself and what it can do, the same on every connection. */
export interface ProtocolOptions {
  readonly clientInfo: { readonly name: string; readonly version: string };
  readonly capabilities: ClientCapabilities;
  readonly versionNegotiation: 'auto' | 'legacy' | 'modern';
  /** Called with the SDK client of each new connection before it connects: register handlers here. */
  readonly configureClient?: ((client: Client) => void) | undefined;
  readonly clock: Clock;
  /** Milliseconds to wait before opening a change subscription again that has ended. */
  retryDelay(failures: number): number;
}

/** What a transport knows about its end. */
export interface TransportFacts {
  /** Why it ended. */
  readonly closeError?: Error;
  /** The server said goodbye after answering everything it had read: a request without an answer never reached it. */
  readonly unansweredWasUnread?: boolean;
}

/** The SDK has a limit of its own; ours, by the injected clock, is the one that counts. */
const NO_TIMEOUT_MS = 2_147_483_647;

/** How long the server may take to end a session before it is left to expire. */
const END_SESSION_TIMEOUT_MS = 2000;

const AnyResult = z.looseObject({});

const LISTS = {
  'tools/list': 'listTools',
  'resources/list': 'listResources',
  'resources/templates/list': 'listResourceTemplates',
  'prompts/list': 'listPrompts',
} as const;

/** Requests whose results the SDK checks against the spec's schema. */
const CHECKED: ReadonlySet<string> = new Set(['resources/read', 'prompts/get', 'completion/complete', ...Object.keys(LISTS)]);

/** Connects a fresh SDK client over a fresh transport. Rejects with an RpcError; the transport is closed then. */
export async function openSdkConnection(
  transport: Transport,
  options: ProtocolOptions,
  events: ConnectionEvents,
  signal: AbortSignal,
  facts: () => TransportFacts = () => ({}),
): Promise<Connection> {
  const observed = new ObservedTransport(transport, events.onNotification);
  const mode = options.versionNegotiation === 'modern' ? { pin: MODERN_PROTOCOL_VERSION } : options.versionNegotiation;
  const client = new Client({ ...options.clientInfo }, { capabilities: options.capabilities, versionNegotiation: { mode } });
  const connection = new SdkConnection({ client, observed, transport, options, events, facts });
  const abort = () => void transport.close().catch(() => {});
  try {
    signal.throwIfAborted();
    signal.addEventListener('abort', abort, { once: true });
    options.configureClient?.(client);
    await client.connect(observed, { signal });
    signal.throwIfAborted();
  } catch (error) {
    await transport.close().catch(() => {});
    throw readOpenError(signal.aborted ? signal.reason : error);
  } finally {
    signal.removeEventListener('abort', abort);
  }
  connection.open();
  return connection;
}

interface Parts {
  readonly client: Client;
  readonly observed: ObservedTransport;
  readonly transport: Transport;
  readonly options: ProtocolOptions;
  readonly events: ConnectionEvents;
  facts(): TransportFacts;
}

class SdkConnection implements Connection {
  readonly closed: Promise<Error | undefined>;
  readonly #parts: Parts;
  readonly #ended = new AbortController();
  readonly #watched: WatchedResources;
  #inFlight = 0;
  #retiring = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#watched = new WatchedResources({
      client: parts.client,
      ended: this.#ended.signal,
      listening: this.#listening,
      request: (method, uri, signal) => this.request(method, { uri }, { signal }),
    });
    const { promise, resolve } = new Deferred<Error | undefined>();
    this.closed = promise;
    parts.client.onclose = () => {
      this.#ended.abort();
      resolve(parts.facts().closeError);
    };
    parts.client.onerror = (error) => {
      if (!this.#ended.signal.aborted) parts.events.onError(error);
    };
  }

  get era(): ProtocolEra {
    return eraOf(this.#parts.client.getNegotiatedProtocolVersion() ?? LEGACY_PROTOCOL_VERSION);
  }

  /** Asks for change notifications, where the server offers them. */
  open(): void {
    if (this.era !== 'modern') return;
    const filter = offeredChanges(this.#parts.client);
    if (Object.keys(filter).length > 0) void keepListening(this.#parts.client, filter, this.#listening, this.#ended.signal);
  }

  get #listening() {
    const { clock, retryDelay } = this.#parts.options;
    const { onGap, onError } = this.#parts.events;
    return { clock, retryDelay, onGap, onError };
  }

  watch(uris: readonly string[], signal: AbortSignal): Promise<void> {
    return this.era === 'modern' ? this.#watched.watchModern(uris, signal) : this.#watched.watchLegacy(uris, signal);
  }

  async request(method: string, params: JsonObject, options: SendOptions): Promise<Answer> {
    if (this.#ended.signal.aborted) throw new ConnectionLostError('The connection is closed', false);
    const flight = this.#parts.observed.track(options.onInput);
    this.#inFlight += 1;
    try {
      const result = await new Promise<RpcResult>((resolve, reject) => {
        flight.onLost = reject;
        this.#send(method, params, flight, options).then(resolve, reject);
      });
      return { result, interactive: flight.interactive, era: this.era };
    } catch (error) {
      if (error === flight.lostBy) throw new ConnectionLostError(messageOf(error), flight.sent, error);
      const failure = readRequestError(error, flight, this.#parts.observed.sessionId);
      if (!(failure instanceof ConnectionLostError) || !failure.maybeDelivered || this.#parts.observed.hasPerRequestStream) throw failure;
      // A channel that cannot send is ending; how it ends tells more.
      await settledOrAborted(this.closed, options.signal);
      throw this.#parts.facts().unansweredWasUnread === true ? new ConnectionLostError(failure.message, false, error) : failure;
    } finally {
      this.#parts.observed.release(flight);
      this.#inFlight -= 1;
      if (this.#retiring && this.#inFlight === 0) void this.close();
    }
  }

  retire(): void {
    this.#retiring = true;
    if (this.#inFlight === 0) void this.close();
  }

  async close(dead = false): Promise<void> {
    if (this.#ended.signal.aborted) return;
    if (dead) this.#parts.observed.loseAll(new Error('The server does not answer any longer'));
    else await this.#endSession();
    await this.#parts.client.close().catch((error: unknown) => this.#parts.events.onError(error as Error));
  }

  /** 2025-11-25 basic/transports: a client that no longer needs its session SHOULD end it. */
  async #endSession(): Promise<void> {
    const { transport, options } = this.#parts;
    if (!('terminateSession' in transport) || transport.sessionId === undefined) return;
    const waiting = new AbortController();
    const ended = (transport as { terminateSession(): Promise<void> }).terminateSession();
    await Promise.race([ended, sleep(options.clock, END_SESSION_TIMEOUT_MS, waiting.signal)]).catch(() => {});
    waiting.abort();
  }

  #send(method: string, params: JsonObject, flight: Flight, { signal, onProgress }: SendOptions): Promise<RpcResult> {
    const options: RequestOptions = {
      signal,
      timeout: NO_TIMEOUT_MS,
      headers: flight.headers,
      ...(onProgress === undefined ? {} : { onprogress: (progress) => onProgress({ ...progress } as JsonObject) }),
    };
    const client = this.#parts.client;
    if (method === 'tools/call') return client.callTool(params as never, options) as Promise<RpcResult>;
    if (method === 'server/discover') return client.discover(options) as Promise<RpcResult>;
    if (method in LISTS && params.cursor === undefined) {
      return client[LISTS[method as keyof typeof LISTS]](params as never, { ...options, cacheMode: 'refresh' }) as Promise<RpcResult>;
    }
    const request = { method, params };
    return (
      CHECKED.has(method) ? client.request(request as never, options) : client.request(request, AnyResult, options)
    ) as Promise<RpcResult>;
  }
}

function settledOrAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
    promise.then(done, done);
  });
}
