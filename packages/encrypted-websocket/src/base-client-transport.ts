import { type Clock, RpcError, systemClock } from '@mcp-blocks/core';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import type { ChannelSocket } from './channel-socket.js';
import { ClientGreeting } from './client-greeting.js';
import { checkUrl } from './client-url.js';
import { CLOSE_CODES, toCloseError } from './close-codes.js';
import { DeliveryOrder } from './delivery-order.js';
import { encodeHello } from './greetings.js';
import type { NoiseChannel } from './noise/noise-channel.js';
import type { NoiseCrypto } from './noise/noise-crypto.js';
import { type NoiseClientOptions, NoiseEndpoint } from './noise/noise-endpoint.js';
import { frameBytesOf } from './noise/records.js';
import { checkDelay, checkInteger } from './option-checks.js';
import { type SessionInfo, sessionInfo } from './session-info.js';
import { SocketTransport, type SocketTransportOptions } from './socket-transport.js';
import { SUBPROTOCOL } from './subprotocols.js';
import { Traffic, type TrafficMetrics } from './traffic.js';

/** Options of the client's end that every platform has. */
export interface BaseClientOptions {
  /** The bearer token to present. A function is asked at each `start`. */
  readonly token?: string | (() => string | Promise<string>);
  /** Encrypts end to end inside the WebSocket, so that a proxy that ends TLS sees only ciphertext. Default: no. */
  readonly noise?: NoiseClientOptions;
  /** Must be said to speak plain `ws` to a host that is not loopback. */
  readonly allowInsecure?: true;
  /** Milliseconds from `start` to the open connection, the token included. Default: 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** Largest message accepted from the server, in bytes. Default: 4 MiB. */
  readonly maxMessageBytes?: number;
  /** Deepest nesting of objects and arrays in a message from the server. Default: 64. */
  readonly maxJsonDepth?: number;
  /** Unsent bytes at which `send` waits. Default: 1 MiB. */
  readonly maxBufferedBytes?: number;
  readonly clock?: Clock;
}

/** What a platform is asked to open. */
export interface Dialling {
  readonly url: URL;
  readonly protocol: string;
  /** Printable ASCII without spaces. */
  readonly token: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Largest message to accept. */
  readonly maxFrameBytes: number;
  /** Called once at most, and not after `failed`. What comes with the handshake's last bytes comes after it. */
  opened(socket: ChannelSocket, sessionId: string | undefined): void;
  failed(error: RpcError): void;
}

/** What the client's end needs of where it runs. */
export interface Platform {
  /** Opens a WebSocket. Gives what ends the attempt; afterwards neither callback is called. */
  dial(dialling: Dialling): () => void;
  readonly crypto: NoiseCrypto;
  /** Further headers of the caller's. */
  readonly headers: Readonly<Record<string, string>>;
  /** Runs a task when all promises settled by now have been seen to. Absent where every frame comes in a turn of its own. */
  later?(task: () => void): void;
  /** Absent where there are no pings. */
  readonly heartbeat?: SocketTransportOptions['heartbeat'];
}

/**
 * The client's end of MCP over WebSocket on any platform: an SDK `Transport` for the `Client` of SDK v1 and
 * v2, in both eras. One instance is one connection; to reconnect, make another.
 *
 * `start` rejects with `RpcError`.
 */
export class BaseClientTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: NonNullable<Transport['onmessage']>;
  readonly #url: URL;
  readonly #options: BaseClientOptions;
  readonly #platform: Platform;
  readonly #endpoint: NoiseEndpoint | undefined;
  readonly #clock: Clock;
  readonly #handshakeTimeoutMs: number;
  readonly #limits: ReturnType<typeof resolveLimits>;
  readonly #traffic = new Traffic();
  #started = false;
  #closing = false;
  #abortHandshake: (() => void) | undefined;
  #transport: SocketTransport | undefined;
  #sealed: Sealed | undefined;
  #sessionId: string | undefined;

  /** @throws ConfigurationError for a URL that cannot be used, and for a value out of range. */
  protected constructor(url: string | URL, options: BaseClientOptions, platform: Platform) {
    this.#url = checkUrl(url, options.allowInsecure === true);
    this.#options = options;
    this.#platform = platform;
    this.#clock = options.clock ?? systemClock;
    this.#handshakeTimeoutMs = checkDelay('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000);
    this.#limits = resolveLimits(options);
    const environment = { crypto: platform.crypto, clock: this.#clock, maxMessageBytes: this.#limits.maxMessageBytes };
    this.#endpoint = options.noise && new NoiseEndpoint('client', options.noise, environment);
  }

  /** How the connection ended (see `CLOSE_CODES`); `undefined` while it has not. */
  get closeCode(): number | undefined {
    return this.#transport?.closeCode;
  }

  get closeReason(): string | undefined {
    return this.#transport?.closeReason;
  }

  /** Why the connection ended, where it was not this end that closed it. */
  get closeError(): RpcError | undefined {
    const { closeCode } = this;
    return closeCode === undefined || this.#closing ? undefined : toCloseError(closeCode);
  }

  metrics(): TrafficMetrics {
    return this.#traffic.metrics();
  }

  /** What is true of the connection; `undefined` while there is none. */
  getSessionInfo(): SessionInfo | undefined {
    if (this.#transport === undefined || this.#transport.closeCode !== undefined) return undefined;
    return sessionInfo(this.#sessionId, this.#url.protocol === 'wss:', this.#sealed?.channel);
  }

  async start(): Promise<void> {
    if (this.#started) throw new RpcError('internal_error', 'The transport was started before; make another to reconnect');
    this.#started = true;
    await this.#connect();
  }

  /**
   * Sends one message; resolves once at most `maxBufferedBytes` wait for the server to read.
   *
   * @throws RpcError `unavailable` when the connection is, or gets, closed; with Noise `payload_too_large` for a
   * message larger than the server has said to read, which is not sent.
   */
  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#transport === undefined) throw new RpcError('unavailable', 'The WebSocket is not open');
    await this.#transport.send(message);
  }

  /** Says goodbye (1000) and resolves when the connection has ended; a handshake under way is given up. */
  async close(): Promise<void> {
    if (this.#transport === undefined) {
      if (this.#closing) return;
      this.#closing = true;
      this.#started = true;
      this.#abortHandshake?.();
      this.onclose?.();
      return;
    }
    if (this.#transport.closeCode === undefined) this.#closing = true;
    await this.#transport.close();
  }

  #connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      let abort = () => {};
      let settled = false;
      const settle = (finish: () => void) => {
        if (settled) return;
        settled = true;
        cancelTimeout();
        this.#abortHandshake = undefined;
        finish();
      };
      const fail = (error: RpcError) =>
        settle(() => {
          reject(error);
          abort();
        });
      const cancelTimeout = this.#clock.setTimeout(
        () => fail(new RpcError('unavailable', 'The WebSocket handshake took too long')),
        this.#handshakeTimeoutMs,
      );
      this.#abortHandshake = () => fail(new RpcError('unavailable', 'The transport was closed during the handshake'));
      const dial = (token: string | undefined) => {
        if (settled) return;
        if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) throw new TypeError('The token holds what no header can');
        const open = (socket: ChannelSocket, sessionId: string | undefined, sealed?: Sealed) =>
          settle(() => {
            this.#sessionId = sessionId;
            this.#sealed = sealed;
            // At once: what came with the handshake's last bytes is delivered before any promise runs.
            this.#attach(socket);
            resolve();
          });
        const dialling = { url: this.#url, clock: this.#clock, failed: fail };
        const endpoint = this.#endpoint;
        const { headers } = this.#platform;
        if (endpoint === undefined) {
          const maxFrameBytes = this.#limits.maxMessageBytes;
          abort = this.#platform.dial({ ...dialling, protocol: SUBPROTOCOL, token, headers, maxFrameBytes, opened: open });
          return;
        }
        const hello = encodeHello(token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` });
        abort = this.#platform.dial({
          ...dialling,
          protocol: endpoint.subprotocol,
          token: undefined,
          headers: {},
          maxFrameBytes: frameBytesOf(this.#limits.maxMessageBytes),
          opened: (socket) => {
            const greeting = new ClientGreeting(socket, endpoint, hello, {
              welcomed: (channel, { sessionId, maxMessageBytes }) => open(socket, sessionId, { channel, maxSentBytes: maxMessageBytes }),
              failed: fail,
            });
            abort = () => greeting.abort();
          },
        });
      };
      this.#token()
        .then(dial, (cause: unknown) => fail(new RpcError('unauthenticated', 'No token could be had for the handshake', { cause })))
        .catch((cause: unknown) => fail(new RpcError('unavailable', 'The WebSocket handshake could not be sent', { cause })));
    });
  }

  #attach(socket: ChannelSocket): void {
    const { heartbeat, later } = this.#platform;
    const transport = new SocketTransport({
      socket,
      clock: this.#clock,
      traffic: this.#traffic,
      channel: this.#sealed?.channel,
      maxSentBytes: this.#sealed?.maxSentBytes,
      ...(heartbeat === undefined ? {} : { heartbeat }),
      ...this.#limits,
      onMalformed: (error) => this.onerror?.(error),
    });
    this.#transport = transport;
    const deliver = (message: JSONRPCMessage) => this.onmessage?.(message);
    const order = later && new DeliveryOrder({ later, deliver, pause: () => transport.pause(), resume: () => transport.resume() });
    transport.onmessage = order === undefined ? deliver : (message) => order.take(message);
    transport.onerror = (error) => this.onerror?.(error);
    transport.onclose = () => {
      if (!this.#closing) order?.flush();
      const { closeError } = this;
      if (closeError !== undefined && transport.closeCode !== CLOSE_CODES.normal) this.onerror?.(closeError);
      this.onclose?.();
    };
    void transport.start();
  }

  async #token(): Promise<string | undefined> {
    const { token } = this.#options;
    return typeof token === 'function' ? await token() : token;
  }
}

/** What a Noise handshake came to. */
interface Sealed {
  readonly channel: NoiseChannel;
  readonly maxSentBytes: number | undefined;
}

function resolveLimits(options: BaseClientOptions) {
  return {
    maxMessageBytes: checkInteger('maxMessageBytes', options.maxMessageBytes ?? 4_194_304, { min: 1 }),
    maxJsonDepth: checkInteger('maxJsonDepth', options.maxJsonDepth ?? 64, { min: 1 }),
    maxBufferedBytes: checkInteger('maxBufferedBytes', options.maxBufferedBytes ?? 1_048_576, { min: 1 }),
  };
}
