import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import { RpcError } from '../errors.js';
import type { JsonObject } from '../json.js';
import { fromWireError } from '../wire.js';

/** What an {@link InProcessPeer} does with what the server sends on its own. */
export interface PeerEvents {
  onNotification?(method: string, params: JsonObject): void;
  /** Answers a request of the server to the client. Absent: every one is refused with -32601. */
  onRequest?(method: string, params: JsonObject): Promise<JsonObject>;
}

/**
 * The client's end of a connection to an SDK server in the same process: plain JSON-RPC over a linked
 * pair of transports. Knows ids and cancellation, and nothing of MCP.
 */
export class InProcessPeer {
  /** The server's end: hand it to `connect` or `serveStdio`. */
  readonly transport: Transport;
  readonly #events: PeerEvents;
  readonly #pending = new Map<number, { resolve(result: JsonObject): void; reject(error: Error): void }>();
  #nextId = 1;
  #closed = false;

  constructor(events: PeerEvents = {}) {
    this.#events = events;
    const peer = this;
    this.transport = {
      async start() {},
      async send(message: JSONRPCMessage) {
        // A turn of the event loop between the ends keeps their stacks apart.
        queueMicrotask(() => peer.#receive(message));
      },
      async close() {
        peer.#end();
      },
    };
  }

  /** Sends a request and waits for its result. Aborting cancels it on the server. */
  async request(method: string, params: JsonObject, signal?: AbortSignal): Promise<JsonObject> {
    if (this.#closed) throw new RpcError('unavailable', 'The hosted server has closed its connection');
    if (signal?.aborted) throw new RpcError('cancelled', 'The request was cancelled');
    const id = this.#nextId++;
    return new Promise<JsonObject>((resolve, reject) => {
      const onAbort = () => {
        this.#pending.delete(id);
        this.notify('notifications/cancelled', { requestId: id });
        reject(new RpcError('cancelled', 'The request was cancelled'));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const done = () => signal?.removeEventListener('abort', onAbort);
      this.#pending.set(id, {
        resolve(result) {
          done();
          resolve(result);
        },
        reject(error) {
          done();
          reject(error);
        },
      });
      this.#deliver({ jsonrpc: '2.0', id, method, params } as JSONRPCMessage);
    });
  }

  notify(method: string, params: JsonObject): void {
    this.#deliver({ jsonrpc: '2.0', method, params } as JSONRPCMessage);
  }

  #deliver(message: JSONRPCMessage): void {
    queueMicrotask(() => this.transport.onmessage?.(message));
  }

  #receive(message: JSONRPCMessage): void {
    if (!('method' in message)) {
      const pending = this.#pending.get(message.id as number);
      this.#pending.delete(message.id as number);
      if ('error' in message) pending?.reject(fromWireError(message.error));
      else pending?.resolve(message.result as JsonObject);
      return;
    }
    const params = (message.params ?? {}) as JsonObject;
    if (!('id' in message)) {
      this.#events.onNotification?.(message.method, params);
      return;
    }
    const { id } = message;
    const answer =
      this.#events.onRequest?.(message.method, params) ??
      Promise.reject(new RpcError('method_not_found', 'The caller cannot be asked on this connection'));
    answer.then(
      (result) => this.#deliver({ jsonrpc: '2.0', id, result } as JSONRPCMessage),
      (error: Error) => this.#deliver({ jsonrpc: '2.0', id, error: { code: -32601, message: error.message } } as JSONRPCMessage),
    );
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { reject } of this.#pending.values()) reject(new RpcError('unavailable', 'The hosted server has closed its connection'));
    this.#pending.clear();
    this.transport.onclose?.();
  }
}
