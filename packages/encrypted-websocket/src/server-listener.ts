import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, ConfigurationError, type ListenerHost, RpcError, systemClock } from '@mcp-blocks/core';
import { type HttpUpgradeListener, RequestGuard, type TlsOptions } from '@mcp-blocks/core/node';
import { type Accepted, Acceptor } from './acceptor.js';
import { parseTarget, refuseUpgrade } from './handshake.js';
import { OwnPort } from './own-port.js';
import { ServerConnection } from './server-connection.js';
import { noiseEndpoints } from './server-noise.js';
import { type EncryptedWebSocketOptions, OWN_PORT_OPTIONS, type ResolvedOptions, resolveOptions } from './server-options.js';
import type { SessionInfo } from './session-info.js';
import { Traffic, type TrafficMetrics } from './traffic.js';

/** What an {@link EncryptedWebSocketListener} has done so far. */
export interface WebSocketServerMetrics extends TrafficMetrics {
  readonly activeConnections: number;
  readonly totalConnections: number;
  /** Handshakes that led to no connection: answered with an HTTP error, or ended inside Noise. */
  readonly refusedHandshakes: number;
}

/**
 * Serves MCP over WebSocket, on a port of its own (`listen`) or on another HTTP listener's (`attach` and
 * `handleUpgrade`). See TRANSPORT.md for what goes over the wire.
 */
export interface EncryptedWebSocketListener extends HttpUpgradeListener {
  /**
   * Reads the certificate's files again, or takes other TLS options than before, for connections that come from
   * now on; open ones are not touched. Own port only.
   *
   * @throws ConfigurationError when the listener has no `tls`, a file cannot be read, or certificate and key do
   * not belong together; what was in use stays in use.
   */
  reloadTls(next?: TlsOptions): void;
  /** Counts over all connections, those that have ended included. */
  metrics(): WebSocketServerMetrics;
  /** What is true of an open connection, by the `sessionId` of its requests' contexts. */
  getSessionInfo(sessionId: string): SessionInfo | undefined;
}

/**
 * A {@link EncryptedWebSocketListener}.
 *
 * @throws ConfigurationError for a value out of its range, plain `ws` on an address that is not loopback
 * without `allowInsecure`, or such an address without `allowedHosts`.
 */
export function encryptedWebSocket(options: EncryptedWebSocketOptions = {}): EncryptedWebSocketListener {
  return new ServerListener(options);
}

type Phase = 'new' | 'open' | 'draining' | 'closed';

class ServerListener implements EncryptedWebSocketListener {
  readonly name = 'websocket';
  readonly path: string;
  readonly #given: EncryptedWebSocketOptions;
  readonly #options: ResolvedOptions;
  readonly #guard: RequestGuard;
  readonly #traffic = new Traffic();
  readonly #connections = new Set<ServerConnection>();
  #phase: Phase = 'new';
  #clock: Clock = systemClock;
  #host: ListenerHost | undefined;
  #acceptor: Acceptor | undefined;
  #port: OwnPort | undefined;
  #endpoint: string | undefined;
  #totalConnections = 0;

  constructor(options: EncryptedWebSocketOptions) {
    this.#given = options;
    this.#options = resolveOptions(options);
    this.path = this.#options.path;
    this.#guard = new RequestGuard({
      bindAddress: this.#options.host,
      ...(options.allowedHosts === undefined ? {} : { allowedHosts: options.allowedHosts }),
      ...(options.allowedOrigins === undefined ? {} : { allowedOrigins: options.allowedOrigins }),
    });
  }

  get endpoint(): string | undefined {
    return this.#endpoint;
  }

  metrics(): WebSocketServerMetrics {
    return {
      activeConnections: this.#connections.size,
      totalConnections: this.#totalConnections,
      refusedHandshakes: this.#acceptor?.refusedHandshakes ?? 0,
      ...this.#traffic.metrics(),
    };
  }

  getSessionInfo(sessionId: string): SessionInfo | undefined {
    for (const connection of this.#connections) if (connection.sessionId === sessionId) return connection.sessionInfo;
    return undefined;
  }

  async listen(host: ListenerHost): Promise<void> {
    this.#open(host);
    const port = new OwnPort(this.#options, {
      clock: this.#clock,
      onUpgrade: (request, socket, head) => this.#onOwnUpgrade(request, socket, head),
      onUntrusted: (reason, remoteAddress) => this.#acceptor?.audit(remoteAddress, reason),
      onError: (error) => host.onError(error),
    });
    this.#port = port;
    this.#endpoint = await port.listen();
  }

  reloadTls(next?: TlsOptions): void {
    const { tls } = this.#options;
    if (tls === undefined) throw new ConfigurationError('tls', 'the listener was made without it');
    tls.reload(next);
    this.#port?.applyTls();
  }

  attach(host: ListenerHost): void {
    for (const option of OWN_PORT_OPTIONS) {
      if (this.#given[option] !== undefined) {
        throw new ConfigurationError(option, "has no effect on another listener's port; set it there");
      }
    }
    this.#open(host);
    this.#endpoint = this.path;
  }

  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const checked = this.#port === undefined && this.#given.allowedHosts === undefined && this.#given.allowedOrigins === undefined;
    this.#accept(request, socket, head, !checked);
  }

  async drain(deadlineMs: number): Promise<void> {
    if (this.#phase === 'new' || this.#phase === 'closed') return;
    this.#phase = 'draining';
    let cancel = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#clock.setTimeout(resolve, deadlineMs);
    });
    const drained = Promise.all([...this.#connections].map((connection) => connection.drain()));
    await Promise.race([drained, deadline]);
    cancel();
    for (const connection of this.#connections) connection.giveUp();
  }

  async close(): Promise<void> {
    this.#phase = 'closed';
    this.#acceptor?.close();
    const connections = [...this.#connections];
    for (const connection of connections) connection.terminate();
    await Promise.all(connections.map((connection) => connection.closed));
    const port = this.#port;
    this.#port = undefined;
    await port?.close();
  }

  #open(host: ListenerHost): void {
    if (this.#phase !== 'new') throw new RpcError('internal_error', 'The WebSocket listener was started before');
    this.#phase = 'open';
    this.#host = host;
    this.#clock = this.#given.clock ?? host.clock ?? systemClock;
    this.#acceptor = new Acceptor({
      host,
      clock: this.#clock,
      guard: this.#guard,
      options: this.#options,
      endpoints: noiseEndpoints(this.#options.noise, this.#clock, host.maxMessageBytes),
      isOpen: () => this.#phase === 'open' && host.ready?.() !== false,
      activeConnections: () => this.#connections.size,
      onAccepted: (accepted) => this.#serve(host, accepted),
    });
  }

  #onOwnUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (parseTarget(request)?.pathname === this.path) {
      this.#accept(request, socket, head, true);
      return;
    }
    socket.on('error', () => {});
    this.#acceptor?.refuse(socket, new RpcError('invalid_request', `WebSocket is served at ${this.path}`), 404);
  }

  #accept(request: IncomingMessage, socket: Duplex, head: Buffer, guarded: boolean): void {
    if (this.#acceptor !== undefined && this.#phase !== 'closed') {
      void this.#acceptor.accept(request, socket, head, guarded);
      return;
    }
    socket.on('error', () => {});
    refuseUpgrade(socket, new RpcError('unavailable', 'The server is not running'));
  }

  #serve(host: ListenerHost, accepted: Accepted): void {
    const { heartbeat, maxBufferedBytes, slowReaderTimeoutMs } = this.#options;
    this.#totalConnections += 1;
    const connection = new ServerConnection({
      ...accepted,
      host,
      clock: this.#clock,
      traffic: this.#traffic,
      heartbeat,
      maxBufferedBytes,
      slowReaderTimeoutMs,
    });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }
}
