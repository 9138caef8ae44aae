import { RpcError } from '@mcp-blocks/core';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES, toCloseError } from './close-codes.js';
import { decodeWelcome, type Welcome } from './greetings.js';
import type { NoiseChannel } from './noise/noise-channel.js';
import type { NoiseEndpoint } from './noise/noise-endpoint.js';
import type { HandshakeStep, NoiseHandshake } from './noise/noise-handshake.js';

/** What becomes of a {@link ClientGreeting}: one of both, once. */
export interface ClientGreetingEvents {
  /** The server has welcomed this client. Frames that follow go to who takes the socket's events over in this call. */
  welcomed(channel: NoiseChannel, welcome: Welcome): void;
  failed(error: RpcError): void;
}

/** The client's way from an open WebSocket to a Noise channel in which the server has welcomed it. */
export class ClientGreeting implements SocketEvents {
  readonly #socket: ChannelSocket;
  readonly #events: ClientGreetingEvents;
  readonly #hello: Uint8Array;
  readonly #handshake: NoiseHandshake;
  #channel: NoiseChannel | undefined;
  #isOver = false;

  constructor(socket: ChannelSocket, endpoint: NoiseEndpoint, hello: Uint8Array, events: ClientGreetingEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#hello = hello;
    this.#handshake = endpoint.handshake((frame) => {
      if (socket.isOpen) socket.send(frame);
    });
    socket.events = this;
    socket.send(this.#handshake.start());
  }

  received(data: string | Uint8Array): void {
    if (this.#isOver) return;
    if (typeof data === 'string') {
      this.#fail(refused('The server answered in plain text instead of Noise'));
      return;
    }
    if (this.#channel === undefined) {
      this.#shake(data);
      return;
    }
    let event: ReturnType<NoiseChannel['open']>;
    try {
      event = this.#channel.open(data);
    } catch {
      this.#fail(refused('What the server sent was changed on its way'));
      return;
    }
    if (event.kind === 'welcome') {
      this.#isOver = true;
      this.#events.welcomed(this.#channel, decodeWelcome(event.bytes));
    } else if (event.kind === 'close') {
      this.#fail(toCloseError(event.code));
    }
  }

  alive(): void {}

  written(): void {}

  failed(cause: Error): void {
    this.#fail(new RpcError('unavailable', 'The connection failed during the Noise handshake', { cause }));
  }

  /** Nobody vouches for this code, so only two things are told apart: keys that do not fit, and the rest. */
  ended(code: number): void {
    this.#fail(
      code === CLOSE_CODES.noiseRefused
        ? refused('The server refused the Noise handshake: it has another key, or does not accept the one of this client')
        : new RpcError('unavailable', 'The server hung up during the Noise handshake'),
    );
  }

  /** Gives up: forgets the keys and cuts the connection. */
  abort(): void {
    this.#isOver = true;
    this.#handshake.destroy();
    this.#channel?.destroy();
    this.#socket.terminate();
  }

  #shake(frame: Uint8Array): void {
    let step: HandshakeStep;
    try {
      step = this.#handshake.receive(frame);
    } catch {
      this.#fail(refused('The server has not proved to own the key that is expected of it'));
      return;
    }
    if (step.reply !== undefined) this.#socket.send(step.reply);
    if (step.channel === undefined) return;
    this.#channel = step.channel;
    this.#socket.send(step.channel.seal(this.#hello, 'hello'));
  }

  #fail(error: RpcError): void {
    if (this.#isOver) return;
    this.abort();
    this.#events.failed(error);
  }
}

function refused(message: string): RpcError {
  return new RpcError('forbidden', message, { data: { reason: 'noise' } });
}
