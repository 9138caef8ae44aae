import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { RpcService } from '../service.js';
import { toWireError } from '../wire.js';
import type { Connection } from './connection.js';
import { toSdkFactory } from './service-server.js';
import { authorizeListen } from './subscriptions.js';

/**
 * A long-lived two-way connection: an SDK `Transport` that can stop reading. Without `pause` and
 * `resume` the bound on requests in progress still holds; what exceeds it waits in memory.
 */
export interface ChannelTransport extends Transport {
  pause?(): void;
  resume?(): void;
}

/** Options of {@link serveChannel}. */
export interface ServeChannelOptions {
  /** Most requests in progress at a time; reading pauses at the bound. A positive integer. Default: 64. */
  readonly maxInFlight?: number;
  /** Told of failures that no caller is waiting for. */
  readonly onError?: (error: Error) => void;
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
 * `subscriptions/listen`.
 */
export function serveChannel(
  service: RpcService,
  wire: ChannelTransport,
  connection: Connection,
  options: ServeChannelOptions = {},
): ServedChannel {
  const bounded = new BoundedTransport(wire, service, connection, options.maxInFlight ?? 64);
  const handle = serveStdio(toSdkFactory(service, connection), {
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

/** Counts requests in progress, pauses the wire at the bound, and checks subscriptions before the SDK serves them. */
class BoundedTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  readonly #wire: ChannelTransport;
  readonly #service: RpcService;
  readonly #connection: Connection;
  readonly #max: number;
  readonly #pending = new Set<string | number>();
  readonly #waiting: JSONRPCMessage[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(wire: ChannelTransport, service: RpcService, connection: Connection, max: number) {
    this.#wire = wire;
    this.#service = service;
    this.#connection = connection;
    this.#max = max;
    wire.onmessage = (message) => this.#receive(message);
    wire.onerror = (error) => this.onerror?.(error);
    wire.onclose = () => {
      this.#pending.clear();
      this.#waiting.length = 0;
      this.#wakeIdle();
      this.onclose?.();
    };
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  get sessionId(): string | undefined {
    return this.#wire.sessionId;
  }

  idle(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  start(): Promise<void> {
    return this.#wire.start();
  }

  close(): Promise<void> {
    return this.#wire.close();
  }

  setProtocolVersion(version: string): void {
    this.#wire.setProtocolVersion?.(version);
  }

  async send(message: JSONRPCMessage, options?: Parameters<Transport['send']>[1]): Promise<void> {
    try {
      await this.#wire.send(message, options);
    } finally {
      if (!('method' in message) && message.id !== undefined) this.#settle(message.id);
    }
  }

  #receive(message: JSONRPCMessage): void {
    const isRequest = 'method' in message && 'id' in message;
    if (isRequest && this.#pending.size >= this.#max) {
      this.#waiting.push(message);
      this.#wire.pause?.();
      return;
    }
    this.#deliver(message);
  }

  #deliver(message: JSONRPCMessage): void {
    if ('method' in message) {
      if (message.method === 'notifications/cancelled') {
        const id = (message.params as { requestId?: string | number } | undefined)?.requestId;
        // A cancelled request is never answered; it stops counting here.
        if (id !== undefined) this.#settle(id);
      } else if ('id' in message && message.method === 'subscriptions/listen') {
        void this.#listen(message);
        return;
      } else if ('id' in message) {
        this.#pending.add(message.id);
      }
    }
    this.onmessage?.(message);
  }

  async #listen(message: JSONRPCMessage & { id: string | number }): Promise<void> {
    try {
      const params = 'params' in message ? message.params : undefined;
      await authorizeListen(this.#service, params, this.#connection);
      this.onmessage?.(message);
    } catch (error) {
      const { code, message: text, data } = toWireError(error);
      await this.#wire
        .send({ jsonrpc: '2.0', id: message.id, error: { code, message: text, ...(data ? { data } : {}) } })
        .catch((failure: unknown) => this.onerror?.(failure as Error));
    }
  }

  #settle(id: string | number): void {
    if (!this.#pending.delete(id)) return;
    while (this.#waiting.length > 0 && this.#pending.size < this.#max) this.#deliver(this.#waiting.shift() as JSONRPCMessage);
    if (this.#waiting.length === 0) this.#wire.resume?.();
    if (this.#pending.size === 0) this.#wakeIdle();
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
