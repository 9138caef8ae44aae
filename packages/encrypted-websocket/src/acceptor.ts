import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type AuthenticationRequest, type Clock, isRpcError, type ListenerHost, type Principal, RpcError } from '@mcp-blocks/core';
import type { RequestGuard } from '@mcp-blocks/core/node';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ChannelSocket } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';
import { type Handshake, readHandshake, refuseUpgrade } from './handshake.js';
import { NodeSocket } from './node-socket.js';
import type { NoiseChannel } from './noise/noise-channel.js';
import { frameBytesOf } from './noise/records.js';
import { ServerGreeting } from './server-greeting.js';
import type { NoiseEndpoints } from './server-noise.js';
import type { ResolvedOptions } from './server-options.js';
import { SESSION_HEADER, SUBPROTOCOL } from './subprotocols.js';
import { turnShare } from './turn-share.js';

/** Frames of one message, each of so many bytes or more on average; smaller ones are work without a purpose. */
const MIN_FRAGMENT_BYTES = 4_096;
const MIN_FRAGMENTS = 256;

/** A client that has been let in. */
export interface Accepted {
  readonly socket: ChannelSocket;
  readonly principal: Principal;
  readonly sessionId: string;
  readonly remoteAddress: string | undefined;
  /** Whether TLS ends at this process. */
  readonly secure: boolean;
  readonly channel: NoiseChannel | undefined;
}

/** What an {@link Acceptor} works with. */
export interface AcceptorOptions {
  readonly host: ListenerHost;
  readonly clock: Clock;
  readonly guard: RequestGuard;
  readonly options: ResolvedOptions;
  readonly endpoints: NoiseEndpoints;
  /** Whether the listener takes connections. */
  isOpen(): boolean;
  /** Connections that have been let in. */
  activeConnections(): number;
  onAccepted(accepted: Accepted): void;
}

/** Takes clients from the upgrade request to the open connection, through Noise where they ask for it, or refuses them. */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #protocols: readonly string[];
  readonly #plain: WebSocketServer;
  readonly #sealed: WebSocketServer;
  /** Sockets of clients nobody knows yet, the oldest first. */
  readonly #pending = new Set<Duplex>();
  /** What the answer to an upgrade request says. */
  readonly #answers = new WeakMap<IncomingMessage, { readonly protocol: string; readonly sessionId: string }>();
  #refusedHandshakes = 0;

  constructor(options: AcceptorOptions) {
    const { host, endpoints } = options;
    const { deflate, noise } = options.options;
    this.#options = options;
    this.#protocols = [...(noise === undefined || noise.required === false ? [SUBPROTOCOL] : []), ...endpoints.keys()];
    this.#plain = this.#upgrader(host.maxMessageBytes, deflate);
    // What is sealed does not compress.
    this.#sealed = this.#upgrader(frameBytesOf(host.maxMessageBytes), false);
  }

  /** Handshakes that led to no connection. */
  get refusedHandshakes(): number {
    return this.#refusedHandshakes;
  }

  /** From the upgrade request to the open connection, or to the refusal. Never rejects. */
  async accept(request: IncomingMessage, socket: Duplex, head: Buffer, guarded: boolean): Promise<void> {
    const { host, clock, guard, options } = this.#options;
    const { remoteAddress } = request.socket;
    // Until ws takes the socket over, its failures are nobody else's.
    const ignoreError = () => {};
    socket.on('error', ignoreError);
    let refuse = (error: unknown, status?: number) => this.refuse(socket, error, status);
    let isRefused = false;
    const giveUp = () => {
      // Whoever does not even take the refusal is cut.
      if (isRefused) {
        socket.destroy();
        return;
      }
      isRefused = true;
      refuse(new RpcError('timeout', 'The handshake took too long'), 408);
      this.audit(remoteAddress, 'timeout');
    };
    let isIn = false;
    const cancelTimeout = clock.setTimeout(() => turnShare.do(() => isIn || giveUp()), options.handshakeTimeoutMs);
    const isFull = this.#options.activeConnections() + this.#pending.size >= options.maxConnections || host.hasCapacity?.() === false;
    this.#enter(socket);
    const leave = () => {
      isIn = true;
      cancelTimeout();
      this.#pending.delete(socket);
    };
    socket.once('close', leave);
    const state = { auditedByHost: false };
    try {
      if (guarded) guard.check(request.headers);
      this.#assertOpen();
      if (isFull) throw new RpcError('unavailable', 'Too many connections', { auditReason: 'maxConnections' });
      const handshake = readHandshake(request, this.#protocols);
      const sessionId = options.newSessionId();
      const endpoint = this.#options.endpoints.get(handshake.protocol);
      let principal: Principal;
      let greeting: ServerGreeting | undefined;
      let opened: ChannelSocket | undefined;
      if (endpoint === undefined) {
        principal = await this.#authenticate(handshake.caller, state);
        if (isRefused || socket.destroyed) return;
        this.#assertOpen();
        socket.off('error', ignoreError);
        opened = this.#upgrade(request, socket, head, { protocol: SUBPROTOCOL, sessionId });
      } else {
        socket.off('error', ignoreError);
        opened = this.#upgrade(request, socket, head, { protocol: handshake.protocol, sessionId });
        if (opened === undefined) return;
        greeting = new ServerGreeting(opened, socket as Socket, endpoint, clock);
        refuse = (error) => this.#refuseGreeting(greeting as ServerGreeting, error);
        principal = await this.#authenticateHello(handshake, greeting, state);
        if (isRefused || greeting.isOver) return;
        this.#assertOpen();
      }
      if (opened === undefined) return;
      const channel = greeting?.welcome({ sessionId, maxMessageBytes: host.maxMessageBytes });
      leave();
      // Else it would keep what the handshake was made of for as long as the connection lasts.
      socket.off('close', leave);
      const secure = 'encrypted' in request.socket;
      this.#options.onAccepted({ socket: opened, principal, sessionId, remoteAddress, secure, channel });
    } catch (error) {
      if (isRefused || socket.destroyed) return;
      isRefused = true;
      if (!isRpcError(error)) host.onError(error as Error);
      refuse(error);
      if (isRpcError(error) && error.auditReason !== undefined && !state.auditedByHost) this.audit(remoteAddress, error.auditReason);
    }
  }

  /** Answers an upgrade request with an HTTP error. */
  refuse(socket: Duplex, error: unknown, status?: number): void {
    this.#refusedHandshakes += 1;
    refuseUpgrade(socket, error, status);
  }

  audit(remoteAddress: string | undefined, reason: string): void {
    const { host, clock, options } = this.#options;
    host.audit({
      type: 'ws.refused',
      time: clock.now(),
      outcome: 'denied',
      actor: '-',
      target: options.path,
      reason,
      transport: 'websocket',
      ...(remoteAddress === undefined ? {} : { remoteAddress }),
    });
  }

  /** Cuts every client that has not been let in. */
  close(): void {
    for (const socket of this.#pending) socket.destroy();
    this.#plain.close();
    this.#sealed.close();
  }

  /** Whoever takes long makes room for whoever comes next: a flood of half-open handshakes keeps no one out for long. */
  #enter(socket: Duplex): void {
    this.#pending.add(socket);
    if (this.#pending.size <= this.#options.options.maxHandshakes) return;
    const [oldest] = this.#pending;
    this.#refusedHandshakes += 1;
    this.#pending.delete(oldest as Duplex);
    oldest?.destroy();
  }

  async #authenticate(caller: AuthenticationRequest, state: { auditedByHost: boolean }): Promise<Principal> {
    const { host, clock } = this.#options;
    const principal = await host.authenticate(caller).catch((error: unknown) => {
      state.auditedByHost = true;
      throw error;
    });
    if (principal.expiresAt !== undefined && principal.expiresAt <= clock.now()) {
      throw new RpcError('unauthenticated', 'The credential has expired', { auditReason: 'credential expired' });
    }
    return principal;
  }

  /** Only what was said inside the channel counts: headers and certificates outside are those of whoever is in between. */
  async #authenticateHello({ caller }: Handshake, greeting: ServerGreeting, state: { auditedByHost: boolean }): Promise<Principal> {
    const { headers, clientKey } = await greeting.hello;
    const { remoteAddress } = caller;
    const principal = await this.#authenticate(
      {
        transport: caller.transport,
        header: (name) => headers.get(name),
        ...(remoteAddress === undefined ? {} : { remoteAddress }),
        ...(clientKey === undefined ? {} : { clientKey }),
      },
      state,
    );
    return clientKey === undefined ? principal : { ...principal, clientKey };
  }

  #refuseGreeting(greeting: ServerGreeting, error: unknown): void {
    this.#refusedHandshakes += 1;
    greeting.refuse(closeCodeOf(error), '');
  }

  #assertOpen(): void {
    if (!this.#options.isOpen()) throw new RpcError('unavailable', 'The server takes no connections now');
  }

  #upgrader(maxPayload: number, perMessageDeflate: ResolvedOptions['deflate']): WebSocketServer {
    const upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // Pings are answered by whoever counts them.
      autoPong: false,
      maxFragments: Math.max(MIN_FRAGMENTS, Math.ceil(maxPayload / MIN_FRAGMENT_BYTES)),
      perMessageDeflate,
      maxPayload,
      handleProtocols: (_offered, request) => this.#answers.get(request)?.protocol ?? false,
    });
    upgrader.on('headers', (headers, request) => {
      const answer = this.#answers.get(request);
      // Inside Noise the welcome tells.
      if (answer?.protocol === SUBPROTOCOL) headers.push(`${SESSION_HEADER}: ${answer.sessionId}`);
    });
    upgrader.on('wsClientError', (error, socket, request) => {
      this.refuse(socket, new RpcError('invalid_request', error.message), request.method === 'GET' ? 400 : 405);
    });
    return upgrader;
  }

  /** Gives nothing when ws found fault with the request, which it has answered then. */
  #upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    answer: { readonly protocol: string; readonly sessionId: string },
  ): ChannelSocket | undefined {
    let opened: ChannelSocket | undefined;
    this.#answers.set(request, answer);
    const upgrader = answer.protocol === SUBPROTOCOL ? this.#plain : this.#sealed;
    upgrader.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      opened = new NodeSocket(webSocket, socket as Socket, turnShare);
    });
    return opened;
  }
}

/** What a client inside Noise is told instead of an HTTP status. */
function closeCodeOf(error: unknown): number {
  if (!isRpcError(error)) return CLOSE_CODES.tryAgainLater;
  switch (error.code) {
    case 'unauthenticated':
      return CLOSE_CODES.unauthenticated;
    case 'forbidden':
    case 'insufficient_scope':
      return CLOSE_CODES.forbidden;
    case 'timeout':
      return CLOSE_CODES.heartbeatTimeout;
    default:
      return CLOSE_CODES.tryAgainLater;
  }
}
