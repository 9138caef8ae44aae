import {
  type CancelTimer,
  type Clock,
  isJsonRpcRequest,
  type JsonRpcMessage,
  type ListenerHost,
  type Principal,
  RpcError,
  toWireError,
} from '@mcp-blocks/core';
import { type ServedChannel, serveChannel } from '@mcp-blocks/core/sdk';
import { CLOSE_CODES } from './close-codes.js';
import type { NoiseChannel } from './noise/noise-channel.js';
import { MAX_TIMER_MS } from './option-checks.js';
import { type SessionInfo, sessionInfo } from './session-info.js';
import { SocketTransport, type SocketTransportOptions } from './socket-transport.js';

/** Options of {@link ServerConnection}. */
export interface ServerConnectionOptions extends Omit<SocketTransportOptions, 'maxJsonDepth' | 'onMalformed' | 'intercept'> {
  readonly host: ListenerHost;
  readonly principal: Principal;
  readonly sessionId: string;
  readonly remoteAddress: string | undefined;
  /** Whether TLS ends at this process. */
  readonly secure: boolean;
}

/** Close codes by which the server says that the client did something wrong, or may no longer. */
const POLICY_CODES: ReadonlyMap<number, string> = new Map([
  [CLOSE_CODES.protocolError, 'protocol error'],
  [CLOSE_CODES.unsupportedData, 'frame of the wrong kind'],
  [CLOSE_CODES.invalidText, 'undecodable text'],
  [CLOSE_CODES.policyViolation, 'too many frames'],
  [CLOSE_CODES.messageTooBig, 'message too big'],
  [CLOSE_CODES.noiseRefused, 'noise: a frame that was not sealed so'],
  [CLOSE_CODES.unauthenticated, 'credential expired'],
  [CLOSE_CODES.slowReader, 'slow reader'],
]);

/** One accepted client: its socket, the service on it, and the life of its credential. */
export class ServerConnection {
  readonly #host: ListenerHost;
  readonly #clock: Clock;
  readonly #principal: Principal;
  readonly sessionId: string;
  readonly #secure: boolean;
  readonly #channel: NoiseChannel | undefined;
  readonly #remoteAddress: string | undefined;
  readonly #transport: SocketTransport;
  readonly #served: ServedChannel;
  #cancelExpiry: CancelTimer | undefined;
  #draining = false;

  constructor({ host, principal, sessionId, remoteAddress, secure, ...socketOptions }: ServerConnectionOptions) {
    this.#host = host;
    this.#clock = socketOptions.clock;
    this.#principal = principal;
    this.sessionId = sessionId;
    this.#secure = secure;
    this.#channel = socketOptions.channel;
    this.#remoteAddress = remoteAddress;
    this.#transport = new SocketTransport({
      ...socketOptions,
      maxJsonDepth: host.maxJsonDepth,
      onMalformed: (error) => this.#answer(error.id, error),
      intercept: (message) => this.#intercept(message),
    });
    host.connection(1);
    void this.#transport.closed.then(() => this.#onClosed());
    this.#served = serveChannel(
      host.service,
      this.#transport,
      { principal, transport: 'websocket', sessionId, ...(remoteAddress === undefined ? {} : { remoteAddress }) },
      {
        maxInFlight: host.maxInFlight,
        onError: (error) => host.onError(error),
        onEnded: (session) => host.sessionEnded?.(session),
        clock: this.#clock,
      },
    );
    this.#watchExpiry();
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<void> {
    return this.#transport.closed;
  }

  get sessionInfo(): SessionInfo | undefined {
    return this.#transport.closeCode === undefined ? sessionInfo(this.sessionId, this.#secure, this.#channel) : undefined;
  }

  /** Refuses new requests, waits for those in progress, then says goodbye. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#served.idle();
    this.#transport.endWith(CLOSE_CODES.goingAway);
    await this.#served.close();
    await this.#transport.closed;
  }

  /** Tells the client that the drain's deadline has passed. */
  giveUp(): void {
    void this.#transport.close(CLOSE_CODES.drainDeadline, 'drain deadline');
  }

  terminate(): void {
    this.#transport.terminate();
  }

  #intercept(message: JsonRpcMessage): boolean {
    if (!this.#draining || !isJsonRpcRequest(message)) return false;
    this.#answer(message.id, new RpcError('unavailable', 'The server is shutting down; the request was not started'));
    return true;
  }

  #answer(id: string | number | null, error: RpcError): void {
    const { code, message, data } = toWireError(error);
    try {
      this.#transport.write({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } });
    } catch {
      // The connection is closing; nobody is left to answer.
    }
  }

  #watchExpiry(): void {
    const { expiresAt } = this.#principal;
    if (expiresAt === undefined) return;
    const remainingMs = expiresAt - this.#clock.now();
    if (remainingMs <= 0) {
      void this.#transport.close(CLOSE_CODES.unauthenticated, 'token expired');
      return;
    }
    this.#cancelExpiry = this.#clock.setTimeout(() => this.#watchExpiry(), Math.min(remainingMs, MAX_TIMER_MS));
  }

  #onClosed(): void {
    this.#cancelExpiry?.();
    this.#host.connection(-1);
    const reason = POLICY_CODES.get(this.#transport.closeCode ?? 0);
    if (reason === undefined) return;
    this.#host.audit({
      type: 'ws.closed',
      time: this.#clock.now(),
      outcome: 'denied',
      actor: this.#principal.id,
      reason,
      transport: 'websocket',
      sessionId: this.sessionId,
      ...(this.#remoteAddress === undefined ? {} : { remoteAddress: this.#remoteAddress }),
      details: { closeCode: this.#transport.closeCode },
    });
  }
}
