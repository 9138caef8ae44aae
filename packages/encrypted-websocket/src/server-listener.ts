import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, ConfigurationError, isRpcError, type ListenerHost, type Principal, RpcError, systemClock } from '@mcp-blocks/core';
import { type HttpUpgradeListener, RequestGuard, type TlsOptions } from '@mcp-blocks/core/node';
import { type WebSocket, WebSocketServer } from 'ws';
import { parseTarget, readHandshake, refuseUpgrade } from './handshake.js';
import { NodeSocket } from './node-socket.js';
import { OwnPort } from './own-port.js';
import { ServerConnection } from './server-connection.js';
import { type EncryptedWebSocketOptions, OWN_PORT_OPTIONS, type ResolvedOptions, resolveOptions } from './server-options.js';
import { SESSION_HEADER, SUBPROTOCOL } from './subprotocols.js';
import { Traffic, type TrafficMetrics } from './traffic.js';

/** What an {@link EncryptedWebSocketListener} has done so far. */
export interface WebSocketServerMetrics extends TrafficMetrics {
  readonly activeConnections: number;
  readonly totalConnections: number;
  /** Upgrade requests answered with an HTTP error. */
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
  metrics(): WebSocketServerMetrics;
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
  readonly #handshakes = new Set<Duplex>();
  readonly #sessionIds = new WeakMap<IncomingMessage, string>();
  #phase: Phase = 'new';
  #clock: Clock = systemClock;
  #host: ListenerHost | undefined;
  #upgrader: WebSocketServer | undefined;
  #port: OwnPort | undefined;
  #endpoint: string | undefined;
  #totalConnections = 0;
  #refusedHandshakes = 0;

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
      refusedHandshakes: this.#refusedHandshakes,
      ...this.#traffic.metrics(),
    };
  }

  async listen(host: ListenerHost): Promise<void> {
    this.#open(host);
    const port = new OwnPort(this.#options, {
      clock: this.#clock,
      onUpgrade: (request, socket, head) => this.#onOwnUpgrade(request, socket, head),
      onUntrusted: (reason, remoteAddress) => this.#audit(remoteAddress, reason),
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
    void this.#accept(request, socket, head, !checked);
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
    for (const socket of this.#handshakes) socket.destroy();
    const connections = [...this.#connections];
    for (const connection of connections) connection.terminate();
    await Promise.all(connections.map((connection) => connection.closed));
    const port = this.#port;
    this.#port = undefined;
    await port?.close();
    this.#upgrader?.close();
  }

  #open(host: ListenerHost): void {
    if (this.#phase !== 'new') throw new RpcError('internal_error', 'The WebSocket listener was started before');
    this.#phase = 'open';
    this.#host = host;
    this.#clock = this.#given.clock ?? host.clock ?? systemClock;
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: this.#options.deflate,
      maxPayload: host.maxMessageBytes,
      handleProtocols: () => SUBPROTOCOL,
    });
    this.#upgrader.on('headers', (headers, request) => {
      headers.push(`${SESSION_HEADER}: ${this.#sessionIds.get(request)}`);
    });
    this.#upgrader.on('wsClientError', (error, socket, request) => {
      this.#refuse(socket, new RpcError('invalid_request', error.message), request.method === 'GET' ? 400 : 405);
    });
  }

  #onOwnUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (parseTarget(request)?.pathname === this.path) {
      void this.#accept(request, socket, head, true);
      return;
    }
    socket.on('error', () => {});
    this.#refuse(socket, new RpcError('invalid_request', `WebSocket is served at ${this.path}`), 404);
  }

  /** From the upgrade request to the open connection, or to the HTTP error. Never rejects. */
  async #accept(request: IncomingMessage, socket: Duplex, head: Buffer, guarded: boolean): Promise<void> {
    const host = this.#host;
    // Until ws takes the socket over, its failures are nobody else's.
    const ignoreError = () => {};
    socket.on('error', ignoreError);
    if (host === undefined || this.#phase === 'closed') {
      this.#refuse(socket, new RpcError('unavailable', 'The server is not running'));
      return;
    }
    let expired = false;
    const cancelTimeout = this.#clock.setTimeout(() => {
      expired = true;
      this.#refuse(socket, new RpcError('timeout', 'The handshake took too long'), 408);
      this.#audit(request.socket.remoteAddress, 'timeout');
    }, this.#options.handshakeTimeoutMs);
    socket.once('close', cancelTimeout);
    let auditedByHost = false;
    const full = this.#connections.size + this.#handshakes.size >= this.#options.maxConnections || host.hasCapacity?.() === false;
    this.#handshakes.add(socket);
    try {
      if (guarded) this.#guard.check(request.headers);
      this.#assertOpen(host);
      if (full) throw new RpcError('unavailable', 'Too many connections', { auditReason: 'maxConnections' });
      const credentials = readHandshake(request);
      const principal = await host.authenticate(credentials).catch((error: unknown) => {
        auditedByHost = true;
        throw error;
      });
      if (principal.expiresAt !== undefined && principal.expiresAt <= this.#clock.now()) {
        throw new RpcError('unauthenticated', 'The credential has expired', { auditReason: 'credential expired' });
      }
      if (expired || socket.destroyed) return;
      this.#assertOpen(host);
      socket.off('error', ignoreError);
      this.#upgrade(host, principal, request, socket, head);
    } catch (error) {
      if (expired || socket.destroyed) return;
      if (!isRpcError(error)) host.onError(error as Error);
      this.#refuse(socket, error);
      if (isRpcError(error) && error.auditReason !== undefined && !auditedByHost) {
        this.#audit(request.socket.remoteAddress, error.auditReason);
      }
    } finally {
      cancelTimeout();
      this.#handshakes.delete(socket);
    }
  }

  #upgrade(host: ListenerHost, principal: Principal, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const sessionId = this.#options.newSessionId();
    this.#sessionIds.set(request, sessionId);
    this.#upgrader?.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      this.#totalConnections += 1;
      const connection = new ServerConnection({
        host,
        principal,
        sessionId,
        remoteAddress: request.socket.remoteAddress,
        socket: new NodeSocket(webSocket, socket as Socket),
        clock: this.#clock,
        traffic: this.#traffic,
        heartbeat: this.#options.heartbeat,
        maxBufferedBytes: this.#options.maxBufferedBytes,
        slowReaderTimeoutMs: this.#options.slowReaderTimeoutMs,
      });
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
    });
  }

  #assertOpen(host: ListenerHost): void {
    if (this.#phase !== 'open' || host.ready?.() === false) throw new RpcError('unavailable', 'The server takes no connections now');
  }

  #refuse(socket: Duplex, error: unknown, status?: number): void {
    this.#refusedHandshakes += 1;
    refuseUpgrade(socket, error, status);
  }

  #audit(remoteAddress: string | undefined, reason: string): void {
    this.#host?.audit({
      type: 'ws.refused',
      time: this.#clock.now(),
      outcome: 'denied',
      actor: '-',
      target: this.path,
      reason,
      transport: 'websocket',
      ...(remoteAddress === undefined ? {} : { remoteAddress }),
    });
  }
}
