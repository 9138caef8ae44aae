import type { JSONRPCMessage, McpServer, McpServerFactory, Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { type Clock, systemClock } from '../clock.js';
import { RpcError } from '../errors.js';
import { isJsonObject, type JsonObject } from '../json.js';
import type { JsonRpcMessage } from '../json-rpc.js';
import type { EndedSession } from '../listener.js';
import { MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcService } from '../service.js';
import { toWireError } from '../wire.js';
import type { Connection } from './connection.js';
import { FastLane, type LaneCall } from './fast-lane.js';
import { isModernEnvelope, type ModernRequest } from './modern-request.js';
import { toSdkFactory } from './service-server.js';
import { authorizeListen } from './subscriptions.js';

/**
 * A long-lived two-way connection: an SDK `Transport` that can stop reading. Without `pause` and
 * `resume` the bounds of {@link ServeChannelOptions} still hold, and what exceeds them is refused.
 */
export interface ChannelTransport extends Transport {
  pause?(): void;
  resume?(): void;
  /** Sends a message that is JSON already. Absent: it is parsed for {@link Transport.send}. */
  sendText?(text: string): Promise<void>;
}

/** Options of {@link serveChannel}. */
export interface ServeChannelOptions {
  /**
   * Most requests in progress at a time; a positive integer. Default: 64.
   *
   * As many again wait their turn; then reading pauses, so that the sender feels it. While a handler
   * waits for an answer of the client, reading goes on, or the answer would never come; what arrives then
   * waits up to 16 times the bound, and is refused as `unavailable` beyond that.
   */
  readonly maxInFlight?: number;
  /** Told of failures that no caller is waiting for. */
  readonly onError?: (error: Error) => void;
  /** Told when the connection has ended, if MCP was spoken on it. */
  readonly onEnded?: (session: EndedSession) => void;
  /** Measures how long it lasted. Default: the machine's. */
  readonly clock?: Clock;
}

/** A served connection. */
export interface ServedChannel {
  /** Requests received and not yet answered. Open subscriptions do not count. */
  readonly inFlight: number;
  /** Resolves when nothing is in flight, at once if so. */
  idle(): Promise<void>;
  /** Ends the connection: subscriptions get their closing result, the transport is closed. */
  close(): Promise<void>;
}

/**
 * Serves a service over one long-lived connection (WebSocket, Unix socket, stdio, in memory), in the era
 * the client opens with. Built on the SDK's `serveStdio`, which owns the era decision and
 * `subscriptions/listen`; once it has settled on the modern era, requests take the {@link FastLane}.
 */
export function serveChannel(
  service: RpcService,
  wire: ChannelTransport,
  connection: Connection,
  options: ServeChannelOptions = {},
): ServedChannel {
  const { maxInFlight = 64, clock = systemClock, onEnded } = options;
  const openedAt = clock.now();
  const bounded: BoundedTransport = new BoundedTransport(wire, service, connection, maxInFlight, () => {
    const { protocolVersion } = bounded;
    if (protocolVersion !== undefined) {
      onEnded?.({ transport: connection.transport, protocolVersion, durationMs: clock.now() - openedAt });
    }
  });
  const { events, toolInputSchema } = service;
  const factory = toSdkFactory(
    {
      get info() {
        return service.info;
      },
      handler: (request, context) => {
        bounded.reached(context.requestId);
        return service.handler(request, context);
      },
      ...(events === undefined ? {} : { events }),
      ...(toolInputSchema === undefined ? {} : { toolInputSchema: (name, caller) => service.toolInputSchema?.(name, caller) }),
    },
    connection,
  );
  const serve: McpServerFactory = async (request) => {
    const server = (await factory(request)) as McpServer;
    bounded.served(request.era, server);
    return server;
  };
  const handle = serveStdio(serve, {
    transport: bounded,
    ...(options.onError === undefined ? {} : { onerror: options.onError }),
  });
  return {
    get inFlight() {
      return bounded.inFlight;
    },
    idle: () => bounded.idle(),
    close: () => handle.close(),
  };
}

/** Notifications that go to those who listen for them, whoever sends them. */
const CHANGES: ReadonlySet<string> = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
]);

/** How many times the bound may wait while reading must not pause. */
const MAX_WAITING_FACTOR = 16;

/** Counts requests in progress, makes others wait, and checks subscriptions before the SDK serves them. */
class BoundedTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  /** The revision the peers have agreed on. */
  protocolVersion: string | undefined;
  readonly #wire: ChannelTransport;
  readonly #service: RpcService;
  readonly #connection: Connection;
  readonly #max: number;
  readonly #lane: FastLane;
  /** Whether the SDK stays in the modern era. Until it is known, the SDK sees every message. */
  #isModern: boolean | undefined;
  /** The SDK's server of the connection, once there is one. */
  #server: McpServer | undefined;
  /** Handed to the SDK and not yet by it to the service: those that come later must not overtake them. */
  readonly #onTheirWay = new Set<string | number>();
  /** On the fast lane, of those in progress. */
  readonly #calls = new Map<string | number, LaneCall>();
  readonly #pending = new Set<string | number>();
  /** Requests that wait, in order of arrival. */
  readonly #waiting = new Map<string | number, JSONRPCMessage & { id: string | number }>();
  /** Of those in progress, subscriptions that the service is asked about. */
  readonly #listening = new Map<string | number, JSONRPCMessage>();
  /** Ends what each subscription, asked about or open, holds. */
  readonly #subscriptions = new Map<string | number, AbortController>();
  /** Requests of ours that the client has not answered. */
  readonly #asked = new Set<string | number>();
  /** Aborts when the connection is closed. */
  readonly #gone = new AbortController();
  #paused = false;
  #idleWaiters: (() => void)[] = [];

  constructor(wire: ChannelTransport, service: RpcService, connection: Connection, max: number, ended: () => void) {
    this.#wire = wire;
    this.#service = service;
    this.#connection = connection;
    this.#max = max;
    this.#lane = new FastLane(service);
    wire.onmessage = (message) => this.#receive(message);
    wire.onerror = (error) => this.onerror?.(error);
    wire.onclose = () => {
      this.#gone.abort();
      this.#cancelCalls();
      for (const id of [...this.#subscriptions.keys()]) this.#endSubscription(id);
      this.#pending.clear();
      this.#listening.clear();
      this.#waiting.clear();
      this.#asked.clear();
      this.#wakeIdle();
      ended();
      this.onclose?.();
    };
  }

  /** Told of the server that the SDK is about to serve the connection with. */
  served(era: 'modern' | 'legacy', server: McpServer): void {
    this.#server = server;
    if (era === 'modern') this.protocolVersion = MODERN_PROTOCOL_VERSION;
  }

  /** Told of a request that the SDK has handed to the service. */
  reached(id: string | number | undefined): void {
    if (id !== undefined) this.#onTheirWay.delete(id);
  }

  get inFlight(): number {
    return this.#pending.size + this.#waiting.size;
  }

  get sessionId(): string | undefined {
    return this.#wire.sessionId;
  }

  idle(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  start(): Promise<void> {
    return this.#wire.start();
  }

  close(): Promise<void> {
    this.#cancelCalls();
    return this.#wire.close();
  }

  setProtocolVersion(version: string): void {
    this.protocolVersion = version;
    this.#wire.setProtocolVersion?.(version);
  }

  async send(message: JSONRPCMessage, options?: Parameters<Transport['send']>[1]): Promise<void> {
    if ('method' in message && 'id' in message) {
      this.#asked.add(message.id);
      this.#balance();
    }
    try {
      await this.#wire.send(message, options);
    } finally {
      if (!('method' in message) && message.id !== undefined) {
        this.#endSubscription(message.id);
        this.#settle(message.id);
      }
    }
  }

  #receive(message: JSONRPCMessage): void {
    if (!('method' in message)) {
      if (message.id !== undefined) this.#asked.delete(message.id);
    } else if (!('id' in message)) {
      if (message.method === 'notifications/cancelled' && this.#cancel(message.params)) return;
    } else if (this.#pending.has(message.id) || this.#waiting.has(message.id)) {
      // Counted by id, so a second one would go uncounted; and nobody could tell the answers apart.
      void this.#refuse(message.id, new RpcError('invalid_request', 'id: a request with this id is in progress'));
      return;
    } else if (this.#pending.size >= this.#max) {
      this.#wait(message);
      return;
    } else {
      this.#begin(message);
      this.#balance();
      return;
    }
    this.#forward(message);
    this.#balance();
  }

  #begin(message: JSONRPCMessage & { id: string | number }): void {
    this.#pending.add(message.id);
    if ('method' in message && message.method === 'subscriptions/listen') {
      void this.#listen(message);
      return;
    }
    const isOpen = this.#isModern === true && this.protocolVersion === MODERN_PROTOCOL_VERSION && this.#onTheirWay.size === 0;
    const request = isOpen ? this.#lane.admit(message as JsonRpcMessage, this.#connection) : undefined;
    if (request !== undefined) {
      void this.#call(message.id, request);
      return;
    }
    this.#onTheirWay.add(message.id);
    this.#forward(message);
  }

  /** Hands a message to the SDK, which decides for an era by the first one that is not `server/discover`. */
  #forward(message: JSONRPCMessage): void {
    if (this.#isModern === undefined && 'method' in message && message.method !== 'server/discover') {
      const meta = (message.params as JsonObject | undefined)?._meta;
      this.#isModern = 'id' in message && isJsonObject(meta) && isModernEnvelope(meta);
    }
    this.onmessage?.(message);
  }

  async #call(id: string | number, request: ModernRequest): Promise<void> {
    const call = this.#lane.call(request, this.#connection, {
      notify: async ({ method, params }) => {
        // Who listens to changes, the SDK knows.
        if (CHANGES.has(method)) await this.#server?.server.notification({ method, params } as never);
        else await this.#wire.send({ jsonrpc: '2.0', method, params } as JSONRPCMessage, { relatedRequestId: id });
      },
    });
    this.#calls.set(id, call);
    const answer = await call.answer;
    // Cancelled, and settled by that.
    if (this.#calls.get(id) !== call || answer === undefined) return;
    this.#calls.delete(id);
    if (answer.failure !== undefined) this.#connection.onFailure?.(answer.failure);
    try {
      if (this.#wire.sendText === undefined) await this.#wire.send(JSON.parse(answer.text) as JSONRPCMessage);
      else await this.#wire.sendText(answer.text);
    } catch (error) {
      this.onerror?.(error as Error);
    } finally {
      this.#settle(id);
    }
  }

  #cancelCalls(): void {
    for (const call of this.#calls.values()) call.cancel(new RpcError('cancelled', 'The connection is closed'));
    this.#calls.clear();
  }

  #wait(message: JSONRPCMessage & { id: string | number }): void {
    if (this.#waiting.size >= this.#max * MAX_WAITING_FACTOR) {
      void this.#refuse(message.id, new RpcError('unavailable', 'Too many requests in progress on this connection'));
      return;
    }
    this.#waiting.set(message.id, message);
    this.#balance();
  }

  /** Forgets a cancelled request, which is never answered. True when it had not been handed on yet. */
  #cancel(params: unknown): boolean {
    const { requestId: id, reason } = (params ?? {}) as { requestId?: string | number; reason?: unknown };
    if (id === undefined) return false;
    const call = this.#calls.get(id);
    if (call !== undefined && (reason === undefined || typeof reason === 'string')) {
      this.#calls.delete(id);
      call.cancel(new RpcError('cancelled', 'The request was cancelled'));
      this.#settle(id);
      return true;
    }
    const waited = this.#waiting.delete(id);
    const wasListening = this.#listening.delete(id);
    this.#endSubscription(id);
    if (waited) this.#settled();
    else this.#settle(id);
    return waited || wasListening;
  }

  /** In progress while the service is asked, which may be about a thousand resources; once open it does not count. */
  async #listen(message: JSONRPCMessage & { id: string | number }): Promise<void> {
    const { id } = message;
    const subscription = new AbortController();
    this.#listening.set(id, message);
    this.#subscriptions.set(id, subscription);
    let refusal: unknown;
    try {
      const params = 'params' in message ? message.params : undefined;
      await authorizeListen(this.#service, params, this.#connection, this.#gone.signal, subscription.signal);
    } catch (error) {
      refusal = error;
    }
    // Cancelled meanwhile, or the connection is closed.
    if (this.#listening.get(id) !== message) return;
    this.#listening.delete(id);
    if (refusal === undefined) this.#forward(message);
    else {
      this.#endSubscription(id);
      await this.#refuse(id, refusal);
    }
    this.#settle(id);
  }

  #endSubscription(id: string | number): void {
    this.#subscriptions.get(id)?.abort();
    this.#subscriptions.delete(id);
  }

  async #refuse(id: string | number, error: unknown): Promise<void> {
    const { code, message, data } = toWireError(error);
    await this.#wire
      .send({ jsonrpc: '2.0', id, error: { code, message, ...(data ? { data } : {}) } })
      .catch((failure: unknown) => this.onerror?.(failure as Error));
  }

  #settle(id: string | number): void {
    this.#onTheirWay.delete(id);
    if (this.#pending.delete(id)) this.#settled();
  }

  #settled(): void {
    for (const [id, message] of this.#waiting) {
      if (this.#pending.size >= this.#max) break;
      this.#waiting.delete(id);
      this.#begin(message);
    }
    this.#balance();
    if (this.inFlight === 0) this.#wakeIdle();
  }

  #balance(): void {
    const pause = this.#waiting.size >= this.#max && this.#asked.size === 0;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#wire.pause?.();
    else this.#wire.resume?.();
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
