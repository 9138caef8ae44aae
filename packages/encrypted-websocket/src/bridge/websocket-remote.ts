import { type JsonRpcMessage, JsonRpcParseError, RpcError } from '@mcp-blocks/core';
import type { JSONRPCMessage } from '@modelcontextprotocol/server';
import type { WebSocketClientTransport } from '../client-transport.js';
import { CLOSE_CODES, toCloseError } from '../close-codes.js';
import type { Remote, RemoteEvents } from './remote.js';

/** A server behind a WebSocket: one connection at a time, a new transport for each. */
export class WebSocketRemote implements Remote {
  readonly connectionBound = true;
  readonly #connect: () => WebSocketClientTransport;
  readonly #events: RemoteEvents;
  #transport: WebSocketClientTransport | undefined;

  constructor(connect: () => WebSocketClientTransport, events: RemoteEvents) {
    this.#connect = connect;
    this.#events = events;
  }

  async open(): Promise<void> {
    await this.close();
    const transport = this.#connect();
    // Before start: messages can come with the handshake's last bytes.
    this.#transport = transport;
    transport.onmessage = (message) => {
      if (this.#transport === transport) void this.#events.message(message as JsonRpcMessage);
    };
    transport.onerror = (error) => this.#complain(error);
    transport.onclose = () => this.#ended(transport);
    try {
      await transport.start();
    } catch (error) {
      this.#transport = undefined;
      throw error;
    }
  }

  async send(message: JsonRpcMessage): Promise<void> {
    // Where it fails the connection ends too, and the loss is told then.
    await this.#transport?.send(message as JSONRPCMessage).catch(() => {});
  }

  async close(): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    await transport?.close();
  }

  #complain(error: Error): void {
    this.#events.debug(error.message);
    if (!(error instanceof JsonRpcParseError) || error.id === null) return;
    this.#events.failed(error.id, 'refused', new RpcError('upstream_error', 'The server answered with a malformed message'));
  }

  #ended(transport: WebSocketClientTransport): void {
    if (this.#transport !== transport) return;
    this.#transport = undefined;
    const code = transport.closeCode ?? CLOSE_CODES.abnormal;
    this.#events.lost({
      error: toCloseError(code),
      inFlight: code === CLOSE_CODES.goingAway ? 'not-started' : 'unknown',
      session: true,
    });
  }
}
