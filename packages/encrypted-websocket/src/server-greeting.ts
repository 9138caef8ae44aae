import { type CancelTimer, type Clock, RpcError } from '@mcp-blocks/core';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';
import { decodeHello, encodeWelcome, type Welcome } from './greetings.js';
import type { NoiseChannel } from './noise/noise-channel.js';
import type { NoiseEndpoint } from './noise/noise-endpoint.js';
import type { NoiseHandshake } from './noise/noise-handshake.js';
import { CLOSE_GRACE_MS } from './socket-transport.js';

/** The network socket underneath, watched for a peer that sends more than a greeting. */
interface Network {
  readonly bytesRead?: number;
  on(event: 'data', listener: () => void): unknown;
  off(event: 'data', listener: () => void): unknown;
}

/** What a client has said inside the channel. */
export interface ClientHello {
  readonly headers: ReadonlyMap<string, string>;
  /** The client's static public key, where the pattern shows one. */
  readonly clientKey: string | undefined;
}

/** Bytes that a client whom nobody knows yet may send: the handshake and the hello, with room to spare. */
const MAX_GREETING_BYTES = 32_768;

/** The server's way from an open WebSocket to a Noise channel whose client has said who it is. */
export class ServerGreeting implements SocketEvents {
  /** Resolves with the hello; rejects with the `RpcError` that says why none came. The connection has been ended by then. */
  readonly hello: Promise<ClientHello>;
  readonly #socket: ChannelSocket;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #bytesBefore: number;
  readonly #handshake: NoiseHandshake;
  readonly #limit = () => this.#checkBytes();
  #settle: { resolve(hello: ClientHello): void; reject(error: RpcError): void };
  #channel: NoiseChannel | undefined;
  #hasHello = false;
  #isOver = false;
  #cancelGrace: CancelTimer = () => {};

  constructor(socket: ChannelSocket, network: Network, endpoint: NoiseEndpoint, clock: Clock) {
    const { promise, ...settle } = Promise.withResolvers<ClientHello>();
    this.hello = promise;
    this.#settle = settle;
    this.#socket = socket;
    this.#network = network;
    this.#clock = clock;
    this.#bytesBefore = network.bytesRead ?? 0;
    this.#handshake = endpoint.handshake((frame) => {
      if (socket.isOpen) socket.send(frame);
    });
    socket.events = this;
    network.on('data', this.#limit);
  }

  /** Whether it has come to an end, one way or the other. */
  get isOver(): boolean {
    return this.#isOver;
  }

  received(data: string | Uint8Array): void {
    if (this.#isOver) return;
    if (typeof data === 'string') {
      this.#fail(CLOSE_CODES.unsupportedData, 'a text frame');
      return;
    }
    // A client has nothing to say between its hello and the welcome.
    if (this.#hasHello) {
      this.#fail(CLOSE_CODES.noiseRefused, 'a frame before the welcome');
      return;
    }
    try {
      if (this.#channel === undefined) this.#shake(data);
      else this.#listen(this.#channel, data);
    } catch {
      this.#fail(CLOSE_CODES.noiseRefused, 'handshake');
    }
  }

  alive(): void {}

  written(): void {}

  failed(_error: Error, closeCode: number | undefined): void {
    this.#fail(closeCode ?? CLOSE_CODES.abnormal, 'a broken frame');
  }

  ended(): void {
    this.#cancelGrace();
    this.#network.off('data', this.#limit);
    this.#fail(CLOSE_CODES.abnormal, 'the client hung up');
  }

  /** Welcomes the client. The channel and the socket are the caller's from here on. */
  welcome(welcome: Required<Welcome>): NoiseChannel {
    this.#isOver = true;
    this.#network.off('data', this.#limit);
    const channel = this.#channel as NoiseChannel;
    this.#socket.send(channel.seal(encodeWelcome(welcome), 'welcome'));
    return channel;
  }

  /** Ends the connection with a code, which is sealed where the client can open it. */
  refuse(closeCode: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const channel = this.#channel;
    if (channel !== undefined && !channel.isDestroyed && this.#socket.isOpen) {
      this.#socket.send(channel.sealClose(closeCode, reason));
      this.#socket.close(CLOSE_CODES.normal, '');
    } else {
      this.#socket.close(closeCode, '');
    }
    this.#forget();
    this.#cancelGrace = this.#clock.setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
  }

  #shake(frame: Uint8Array): void {
    const { reply, channel } = this.#handshake.receive(frame);
    if (reply !== undefined) this.#socket.send(reply);
    this.#channel = channel;
  }

  #listen(channel: NoiseChannel, frame: Uint8Array): void {
    const event = channel.open(frame);
    if (event.kind === 'close') {
      this.#fail(CLOSE_CODES.normal, 'the client gave up');
      return;
    }
    const headers = event.kind === 'hello' ? decodeHello(event.bytes) : undefined;
    if (headers === undefined) {
      this.#fail(CLOSE_CODES.noiseRefused, 'a hello that is none');
      return;
    }
    this.#hasHello = true;
    this.#settle.resolve({ headers, clientKey: channel.peerPublicKey });
  }

  /** Also of a client that was refused, and sends on instead of answering the close frame. */
  #checkBytes(): void {
    if ((this.#network.bytesRead ?? 0) - this.#bytesBefore <= MAX_GREETING_BYTES) return;
    if (this.#isOver) this.#socket.terminate();
    else this.#fail(CLOSE_CODES.messageTooBig, 'a long greeting');
  }

  #fail(closeCode: number, reason: string): void {
    if (this.#isOver) return;
    // Abnormal: nobody is left to be told.
    if (closeCode === CLOSE_CODES.abnormal) {
      this.#isOver = true;
      this.#forget();
      this.#socket.terminate();
    } else {
      this.refuse(closeCode, '');
    }
    this.#settle.reject(new RpcError('invalid_request', `Noise: ${reason}`, { auditReason: `noise: ${reason}` }));
  }

  #forget(): void {
    this.#handshake.destroy();
    this.#channel?.destroy();
  }
}
