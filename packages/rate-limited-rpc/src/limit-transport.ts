import {
  fromWireError,
  isJsonObject,
  type JsonObject,
  LEGACY_PROTOCOL_VERSION,
  META,
  type Principal,
  type RpcContext,
  RpcError,
  type RpcResult,
  toWireError,
} from '@mcp-blocks/core';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import type { RateLimitedRPC } from './rate-limited-rpc.js';

type Id = string | number;
type Request = Extract<JSONRPCMessage, { method: string; id: Id }>;
type Extra = Parameters<NonNullable<Transport['onmessage']>>[1];

/** Who is at the other end of a transport, as far as its limits ask. */
export interface TransportIdentity {
  readonly principal: Principal;
  /** Names the transport in the audit: `stdio`, `websocket`. */
  readonly transport: string;
  readonly remoteAddress?: string;
}

/**
 * Puts a limiter between a transport and the SDK server, v1 or v2, that is connected to it:
 * `server.connect(limitTransport(transport, limiter, identity))`. Requests that come in are limited, and
 * refused ones are answered here; everything else passes. `identity` may be a function of what the
 * transport says about a message (`authInfo`).
 */
export function limitTransport(
  transport: Transport,
  limiter: RateLimitedRPC,
  identity: TransportIdentity | ((extra: Extra) => TransportIdentity),
): Transport {
  return new LimitedTransport(transport, limiter, typeof identity === 'function' ? identity : () => identity);
}

interface Pending {
  readonly end: AbortController;
  /** Set once the request was handed on. */
  settle?: { resolve(result: RpcResult): void; reject(error: Error): void };
}

class LimitedTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: NonNullable<Transport['onmessage']>;
  readonly #wire: Transport;
  readonly #limiter: RateLimitedRPC;
  readonly #identify: (extra: Extra) => TransportIdentity;
  readonly #pending = new Map<Id, Pending>();

  constructor(wire: Transport, limiter: RateLimitedRPC, identify: (extra: Extra) => TransportIdentity) {
    this.#wire = wire;
    this.#limiter = limiter;
    this.#identify = identify;
    wire.onmessage = (message, extra) => this.#receive(message, extra);
    wire.onerror = (error) => this.onerror?.(error);
    wire.onclose = () => {
      for (const id of [...this.#pending.keys()]) this.#drop(id);
      this.onclose?.();
    };
  }

  get sessionId(): string | undefined {
    return this.#wire.sessionId;
  }

  get hasPerRequestStream(): boolean {
    return this.#wire.hasPerRequestStream === true;
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

  setSupportedProtocolVersions(versions: string[]): void {
    this.#wire.setSupportedProtocolVersions?.(versions);
  }

  async send(message: JSONRPCMessage, options?: Parameters<Transport['send']>[1]): Promise<void> {
    try {
      await this.#wire.send(message, options);
    } finally {
      if (!('method' in message) && message.id !== undefined) {
        const settle = this.#pending.get(message.id)?.settle;
        if ('error' in message) settle?.reject(fromWireError(message.error));
        else settle?.resolve(message.result as RpcResult);
      }
    }
  }

  #receive(message: JSONRPCMessage, extra: Extra): void {
    if ('method' in message && 'id' in message) {
      // A second one would take the first one's place here, and the first never be over for its limits.
      if (this.#pending.has(message.id))
        void this.#refuse(message.id, new RpcError('invalid_request', 'id: a request with this id is in progress'));
      else void this.#limit(message, extra);
      return;
    }
    if ('method' in message && message.method === 'notifications/cancelled') {
      const id = (message.params as { requestId?: Id } | undefined)?.requestId;
      // A request that still waits for its limits has nobody else to be cancelled by.
      if (id !== undefined && this.#drop(id) === 'waiting') return;
    }
    this.onmessage?.(message, extra);
  }

  async #limit(request: Request, extra: Extra): Promise<void> {
    const pending: Pending = { end: new AbortController() };
    this.#pending.set(request.id, pending);
    const call = this.#limiter.middleware(
      () =>
        new Promise((resolve, reject) => {
          if (pending.end.signal.aborted) return reject(pending.end.signal.reason as Error);
          pending.settle = { resolve, reject };
          this.onmessage?.(request, extra);
        }),
    );
    try {
      const params = (request.params ?? {}) as JsonObject;
      await call({ method: request.method, params }, this.#contextOf(request.id, params, this.#identify(extra), pending.end.signal));
    } catch (error) {
      // What was handed on is answered by the server, and what was cancelled by nobody.
      if (pending.settle === undefined && !pending.end.signal.aborted) await this.#refuse(request.id, error);
    } finally {
      if (this.#pending.get(request.id) === pending) this.#pending.delete(request.id);
    }
  }

  #contextOf(requestId: Id, params: JsonObject, identity: TransportIdentity, signal: AbortSignal): RpcContext {
    const version = isJsonObject(params._meta) ? params._meta[META.protocolVersion] : undefined;
    const { sessionId } = this;
    return {
      ...identity,
      protocolVersion: typeof version === 'string' ? version : LEGACY_PROTOCOL_VERSION,
      signal,
      requestId,
      notify: (method, content) => this.#wire.send({ jsonrpc: '2.0', method, params: content }, { relatedRequestId: requestId }),
      ...(sessionId === undefined ? {} : { sessionId }),
    };
  }

  /** Ends a request without an answer. */
  #drop(id: Id): 'waiting' | 'running' | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    const reason = new RpcError('cancelled', 'The request was cancelled');
    pending.end.abort(reason);
    pending.settle?.reject(reason);
    return pending.settle === undefined ? 'waiting' : 'running';
  }

  async #refuse(id: Id, error: unknown): Promise<void> {
    const { code, message, data } = toWireError(error);
    await this.#wire
      .send({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } })
      .catch((failure: unknown) => this.onerror?.(failure as Error));
  }
}
