import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { CancelTimer, Clock } from '@mcp-blocks/core';
import { refuseUntrusted } from '@mcp-blocks/core/node';
import type { ResolvedOptions } from './server-options.js';
import { turnShare } from './turn-share.js';

/** What an {@link OwnPort} tells its owner. */
export interface OwnPortEvents {
  readonly clock: Clock;
  /** Takes over the socket of an upgrade request. */
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A client presented a certificate that nobody trusted has signed, where none is required. */
  onUntrusted(reason: string, remoteAddress: string | undefined): void;
  /** The port failed after it had been opened. */
  onError(error: Error): void;
}

/** An HTTP(S) server that does nothing but hand over upgrade requests. */
export class OwnPort {
  readonly #options: ResolvedOptions;
  readonly #events: OwnPortEvents;
  readonly #server: Server;
  /** Sockets that have not asked for an upgrade, the oldest first. */
  readonly #waiting = new Map<string, { readonly socket: Socket; readonly since: number }>();
  #cancelCheck: CancelTimer | undefined;
  #stopWatching: CancelTimer = () => {};

  constructor(options: ResolvedOptions, events: OwnPortEvents) {
    this.#options = options;
    this.#events = events;
    const { tls, handshakeTimeoutMs } = options;
    // Sockets that wait are seen to here, one by one: Node would look after all of them at once, every now and then.
    const timeouts = { headersTimeout: 0, requestTimeout: 0 };
    this.#server =
      tls === undefined
        ? createServer(timeouts, answerPlainRequest)
        : createTlsServer(
            { ...timeouts, ...tls.serverOptions, handshakeTimeout: 2 * handshakeTimeoutMs, ALPNProtocols: ['http/1.1'] },
            answerPlainRequest,
          );
    if (tls !== undefined) {
      refuseUntrusted(this.#server, (reason, remoteAddress) => events.onUntrusted(reason, remoteAddress));
      this.#stopWatching = tls.watch(this.#server as TlsServer, events.clock, (error) => events.onError(error));
    }
    this.#server.on('connection', (socket: Socket) => this.#enter(socket));
    this.#server.on('upgrade', (request, socket, head) => {
      this.#leave(nameOf(request.socket));
      // Nobody else looks after it meanwhile.
      const ignoreError = () => {};
      socket.on('error', ignoreError);
      turnShare.do(() => {
        if (!socket.destroyed) events.onUpgrade(request, socket, head);
        socket.off('error', ignoreError);
      });
    });
  }

  /** Resolves with the URL served. Rejects with the system's error when the address cannot be had. */
  listen(): Promise<string> {
    const { host, port, path, tls } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#events.onError(error));
        const address = this.#server.address() as AddressInfo;
        const authority = host.includes(':') ? `[${host}]` : host;
        resolve(`${tls === undefined ? 'ws' : 'wss'}://${authority}:${address.port}${path}`);
      });
    });
  }

  /** Whoever takes long makes room for whoever comes next, as in the handshake. */
  #enter(socket: Socket): void {
    const name = nameOf(socket);
    this.#waiting.set(name, { socket, since: this.#events.clock.now() });
    socket.once('close', () => {
      if (this.#waiting.get(name)?.socket === socket) this.#leave(name);
    });
    if (this.#waiting.size > this.#options.maxHandshakes) this.#cutOldest();
    this.#cancelCheck ??= this.#events.clock.setTimeout(() => this.#checkOldest(), this.#options.handshakeTimeoutMs);
  }

  #leave(name: string): void {
    this.#waiting.delete(name);
    if (this.#waiting.size > 0) return;
    this.#cancelCheck?.();
    this.#cancelCheck = undefined;
  }

  #cutOldest(): void {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return;
    this.#leave(oldest[0]);
    oldest[1].socket.destroy();
  }

  /** Cuts who has waited too long, and looks again when the next one will have. */
  #checkOldest(): void {
    const [oldest] = this.#waiting.values();
    if (oldest === undefined) return;
    const { clock } = this.#events;
    const remainingMs = oldest.since + this.#options.handshakeTimeoutMs - clock.now();
    if (remainingMs > 0) {
      this.#cancelCheck = clock.setTimeout(() => this.#checkOldest(), remainingMs);
      return;
    }
    this.#cutOldest();
    turnShare.do(() => this.#checkOldest());
  }

  /** New connections get the certificate that the options hold by now. */
  applyTls(): void {
    this.#options.tls?.apply(this.#server as TlsServer);
  }

  /** Closes the port and what plain HTTP connections it has; resolves when every socket is gone. */
  close(): Promise<void> {
    this.#stopWatching();
    this.#cancelCheck?.();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

/** The same for a TCP socket and the TLS socket on it. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function answerPlainRequest(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' });
  response.end('This endpoint speaks WebSocket (RFC 6455) with subprotocol mcp.\n');
}
