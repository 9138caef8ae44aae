import { randomUUID } from 'node:crypto';
import { isJsonObject, type JsonObject } from '@mcp-blocks/core';
import type { JSONRPCMessage, Transport, TransportSendOptions } from '@modelcontextprotocol/client';
import type { CompleteStreamTransport } from './complete-stream-transport.js';
import type { UpstreamSession } from './upstream.js';

/**
 * A transport whose legacy session outlives it: another connection, in another process too, goes on with it.
 * There the handshake is answered from what the node said the first time. Request ids get a name of the
 * connection, since the session's other connections count from 0 as well.
 */
export class SessionTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  readonly hasPerRequestStream = true;
  readonly #inner: CompleteStreamTransport;
  readonly #resumed: UpstreamSession | undefined;
  readonly #name = `${randomUUID()} `;
  #handshake: string | undefined;
  #initialized: JsonObject | undefined;

  constructor(inner: CompleteStreamTransport, resumed: UpstreamSession | undefined) {
    this.#inner = inner;
    this.#resumed = resumed;
    inner.onmessage = (message, extra) => this.#received(message, extra);
    inner.onerror = (error) => this.onerror?.(error);
    inner.onclose = () => this.onclose?.();
  }

  /** Once the handshake is over: before, the SDK would take it for a connection that needs none. */
  get sessionId(): string | undefined {
    return this.#initialized === undefined ? undefined : this.#inner.sessionId;
  }

  /** What another connection goes on with. */
  get session(): UpstreamSession | undefined {
    const { sessionId } = this;
    return sessionId === undefined || this.#initialized === undefined ? undefined : { id: sessionId, initialized: this.#initialized };
  }

  start(): Promise<void> {
    return this.#inner.start();
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version);
  }

  terminateSession(): Promise<void> {
    return this.#inner.terminateSession();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async send(message: JSONRPCMessage, options?: TransportSendOptions): Promise<void> {
    if (!('method' in message)) return this.#inner.send(message, options);
    if (this.#resumed !== undefined && message.method === 'initialize' && 'id' in message) {
      const { id } = message;
      this.#initialized = this.#resumed.initialized;
      // Never before the request counts as sent.
      queueMicrotask(() => this.onmessage?.({ jsonrpc: '2.0', id, result: this.#resumed?.initialized } as JSONRPCMessage));
      return;
    }
    if (this.#resumed !== undefined && message.method === 'notifications/initialized') return this.#inner.openStream();
    if ('id' in message) {
      const id = this.#named(message.id);
      if (message.method === 'initialize') this.#handshake = id;
      return this.#inner.send({ ...message, id }, options);
    }
    const requestId = message.method === 'notifications/cancelled' ? message.params?.requestId : undefined;
    if (requestId === undefined) return this.#inner.send(message, options);
    return this.#inner.send({ ...message, params: { ...message.params, requestId: this.#named(requestId) } } as JSONRPCMessage, options);
  }

  #received(message: JSONRPCMessage, extra: Parameters<NonNullable<Transport['onmessage']>>[1]): void {
    if ('method' in message || typeof message.id !== 'string' || !message.id.startsWith(this.#name)) {
      this.onmessage?.(message, extra);
      return;
    }
    if (message.id === this.#handshake && 'result' in message && isJsonObject(message.result)) this.#initialized = message.result;
    this.onmessage?.({ ...message, id: JSON.parse(message.id.slice(this.#name.length)) as number }, extra);
  }

  #named(id: unknown): string {
    return `${this.#name}${JSON.stringify(id)}`;
  }
}
