import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { type Clock, ConfigurationError, RpcError, type RpcErrorCode, systemClock } from '@mcp-blocks/core';
import { isLoopbackAddress } from '@mcp-blocks/core/node';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import { WebSocket } from 'ws';
import { CLOSE_CODES, toCloseError } from './close-codes.js';
import { credentialParameter, SESSION_HEADER, SUBPROTOCOL } from './handshake.js';
import { checkDelay, checkInteger } from './option-checks.js';
import { SocketTransport } from './socket-transport.js';
import { Traffic, type TrafficMetrics } from './traffic.js';

/** TLS of the client's end. PEM text or bytes. The server's certificate is always verified. */
export interface ClientTlsOptions {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  /** The client's own certificate, where the server wants one, with its `key`. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/** Options of {@link WebSocketClientTransport}. */
export interface WebSocketClientOptions {
  /** Sent as `Authorization: Bearer`. A function is asked at each `start`. */
  readonly token?: string | (() => string | Promise<string>);
  /** Further handshake headers, such as `x-api-key`. Not those the handshake itself sets. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly tls?: ClientTlsOptions;
  /** Must be said to speak plain `ws` to a host that is not loopback. */
  readonly allowInsecure?: true;
  /** Milliseconds from `start` to the open connection, the token included. Default: 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** Milliseconds between pings. Default: 30,000. */
  readonly heartbeatIntervalMs?: number;
  /** A server silent for `heartbeatIntervalMs` and this long is gone. Default: 10,000. */
  readonly heartbeatTimeoutMs?: number;
  /** Largest message accepted from the server, in bytes. Default: 4 MiB. */
  readonly maxMessageBytes?: number;
  /** Deepest nesting of objects and arrays in a message from the server. Default: 64. */
  readonly maxJsonDepth?: number;
  /** Unsent bytes at which `send` waits. Default: 1 MiB. */
  readonly maxBufferedBytes?: number;
  readonly clock?: Clock;
}

/** What is true of an open connection. */
export interface SessionInfo {
  /** The server's name for this connection, for finding it in the server's logs; `undefined` if it gave none. */
  readonly sessionId: string | undefined;
  /** Whether TLS protects it. */
  readonly secure: boolean;
  /** The subprotocol agreed on. */
  readonly protocol: 'mcp';
}

/** Headers that are the handshake's own. */
const RESERVED_HEADER = /^(host|connection|upgrade|sec-websocket-.*)$/i;

const REFUSALS: Readonly<Record<number, RpcErrorCode>> = { 401: 'unauthenticated', 403: 'forbidden' };

/**
 * The client's end of MCP over WebSocket: an SDK `Transport` for the `Client` of SDK v1 and v2, in both
 * eras. One instance is one connection; to reconnect, make another.
 *
 * `start` rejects with `RpcError` `unauthenticated` (HTTP 401), `forbidden` (403) or `unavailable`
 * (anything else, an unreachable server and a timeout included); `data.httpStatus` is the status.
 */
export class WebSocketClientTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: NonNullable<Transport['onmessage']>;
  readonly #url: URL;
  readonly #options: WebSocketClientOptions;
  readonly #clock: Clock;
  readonly #limits: ReturnType<typeof resolveLimits>;
  readonly #traffic = new Traffic();
  #started = false;
  #closing = false;
  #abortHandshake: (() => void) | undefined;
  #transport: SocketTransport | undefined;
  #sessionId: string | undefined;

  /**
   * @param url - `wss://…`, or `ws://…` on a loopback host.
   * @throws ConfigurationError for a URL that is neither, or holds a credential, and for a value out of range.
   */
  constructor(url: string | URL, options: WebSocketClientOptions = {}) {
    this.#url = checkUrl(url, options.allowInsecure === true);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#limits = resolveLimits(options);
    for (const name of Object.keys(options.headers ?? {})) {
      if (RESERVED_HEADER.test(name)) throw new ConfigurationError(`headers.${name}`, 'is set by the handshake itself');
      if (name.toLowerCase() === 'authorization' && options.token !== undefined) {
        throw new ConfigurationError(`headers.${name}`, 'is set from the option token');
      }
    }
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
    return { sessionId: this.#sessionId, secure: this.#url.protocol === 'wss:', protocol: SUBPROTOCOL };
  }

  async start(): Promise<void> {
    if (this.#started) throw new RpcError('internal_error', 'The transport was started before; make another to reconnect');
    this.#started = true;
    await this.#connect();
  }

  /**
   * Sends one message; resolves once at most `maxBufferedBytes` wait for the server to read.
   *
   * @throws RpcError `unavailable` when the connection is, or gets, closed.
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
      let socket: WebSocket | undefined;
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
          socket?.terminate();
        });
      const cancelTimeout = this.#clock.setTimeout(
        () => fail(new RpcError('unavailable', 'The WebSocket handshake took too long')),
        this.#limits.handshakeTimeoutMs,
      );
      this.#abortHandshake = () => fail(new RpcError('unavailable', 'The transport was closed during the handshake'));
      const open = (token: string | undefined) => {
        if (settled) return;
        let network: Socket | undefined;
        socket = this.#open(token);
        socket.on('error', (cause) => fail(new RpcError('unavailable', `No WebSocket connection to ${this.#url.host}`, { cause })));
        socket.on('unexpected-response', (_request, response) => fail(refusal(response)));
        socket.on('upgrade', (response) => {
          network = response.socket;
          this.#sessionId = sessionIdOf(response);
        });
        socket.on('open', () => {
          const opened = socket as WebSocket;
          settle(() => {
            opened.removeAllListeners();
            // At once: what came with the handshake's last bytes is delivered before any promise runs.
            this.#attach(opened, () => network?.bytesRead ?? 0);
            resolve();
          });
        });
      };
      this.#token()
        .then(open, (cause: unknown) => fail(new RpcError('unauthenticated', 'No token could be had for the handshake', { cause })))
        .catch((cause: unknown) => fail(new RpcError('unavailable', 'The WebSocket handshake could not be sent', { cause })));
    });
  }

  #attach(socket: WebSocket, bytesRead: () => number): void {
    const transport = new SocketTransport({
      socket,
      bytesRead,
      clock: this.#clock,
      traffic: this.#traffic,
      ...this.#limits,
      onMalformed: (error) => this.onerror?.(error),
    });
    this.#transport = transport;
    transport.onmessage = (message, extra) => this.onmessage?.(message, extra);
    transport.onerror = (error) => this.onerror?.(error);
    transport.onclose = () => {
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

  #open(token: string | undefined): WebSocket {
    const { ca, cert, key } = this.#options.tls ?? {};
    return new WebSocket(this.#url, SUBPROTOCOL, {
      perMessageDeflate: false,
      followRedirects: false,
      // SDK clients handle a notification a promise turn later but a response at once: two frames of one
      // network read must not arrive in one turn, or the last progress is lost to the result behind it.
      allowSynchronousEvents: false,
      maxPayload: this.#limits.maxMessageBytes,
      headers: { ...this.#options.headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED cannot undo it.
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: ca as string[] }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  }
}

function checkUrl(given: string | URL, allowInsecure: boolean): URL {
  const url = URL.parse(String(given));
  if (url === null || (url.protocol !== 'ws:' && url.protocol !== 'wss:')) {
    throw new ConfigurationError('url', 'expected a ws:// or wss:// URL');
  }
  const credential = credentialParameter(url.searchParams);
  if (url.username !== '' || url.password !== '' || credential !== undefined) {
    throw new ConfigurationError('url', 'holds a credential; use the options token or headers');
  }
  if (url.hash !== '') throw new ConfigurationError('url', 'expected no fragment');
  if (url.protocol === 'ws:' && !allowInsecure && !isLoopbackAddress(url.hostname.replace(/^\[|\]$/g, ''))) {
    throw new ConfigurationError('url', `plain ws:// to ${url.hostname}: use wss://, or say allowInsecure: true`);
  }
  return url;
}

function resolveLimits(options: WebSocketClientOptions) {
  return {
    handshakeTimeoutMs: checkDelay('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000),
    heartbeatIntervalMs: checkDelay('heartbeatIntervalMs', options.heartbeatIntervalMs ?? 30_000),
    heartbeatTimeoutMs: checkDelay('heartbeatTimeoutMs', options.heartbeatTimeoutMs ?? 10_000),
    maxMessageBytes: checkInteger('maxMessageBytes', options.maxMessageBytes ?? 4_194_304, { min: 1 }),
    maxJsonDepth: checkInteger('maxJsonDepth', options.maxJsonDepth ?? 64, { min: 1 }),
    maxBufferedBytes: checkInteger('maxBufferedBytes', options.maxBufferedBytes ?? 1_048_576, { min: 1 }),
  };
}

function refusal(response: IncomingMessage): RpcError {
  const httpStatus = response.statusCode ?? 0;
  // Only the status is told: the body is a stranger's and could hold what was sent.
  return new RpcError(REFUSALS[httpStatus] ?? 'unavailable', `The server refused the WebSocket handshake with HTTP ${httpStatus}`, {
    data: { httpStatus },
  });
}

function sessionIdOf(response: IncomingMessage): string | undefined {
  const value = response.headers[SESSION_HEADER];
  return typeof value === 'string' && /^[\x21-\x7e]{1,128}$/.test(value) ? value : undefined;
}
