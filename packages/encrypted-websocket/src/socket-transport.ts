import { type CancelTimer, type Clock, type JsonRpcMessage, JsonRpcParseError, parseJsonRpc, RpcError } from '@mcp-blocks/core';
import type { ChannelTransport } from '@mcp-blocks/core/sdk';
import type { JSONRPCMessage } from '@modelcontextprotocol/server';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';
import { Heartbeat } from './heartbeat.js';
import type { NoiseChannel, NoiseEvent } from './noise/noise-channel.js';
import type { Traffic } from './traffic.js';

/** How long a peer may take to answer a close frame before the socket is cut. */
export const CLOSE_GRACE_MS = 5_000;

/** Pings and pongs that a peer may send within a time; each costs as much as a message, and no heartbeat needs so many. */
const MAX_CONTROL_FRAMES = 100;
const CONTROL_WINDOW_MS = 10_000;

/** Options of {@link SocketTransport}. */
export interface SocketTransportOptions {
  /** An open WebSocket. The transport owns it from here on. */
  readonly socket: ChannelSocket;
  readonly clock: Clock;
  readonly traffic: Traffic;
  /** The Noise channel in which messages are sealed. The transport owns it from here on. Absent: they go in plain text. */
  readonly channel?: NoiseChannel | undefined;
  /** Bytes of the largest message the peer has said, inside the channel, to read. Absent: it did not say. */
  readonly maxSentBytes?: number | undefined;
  /** Absent where the platform cannot ping. */
  readonly heartbeat?: { readonly intervalMs: number; readonly timeoutMs: number };
  readonly maxJsonDepth: number;
  /** Unsent bytes at which `send` waits. */
  readonly maxBufferedBytes: number;
  /** Set on the server: reading stops while the peer does not read, and after this long it is closed. */
  readonly slowReaderTimeoutMs?: number;
  /** A text frame was not one JSON-RPC message. The connection stays open. */
  onMalformed(error: JsonRpcParseError): void;
  /** A first look at each message; true when it has been dealt with. */
  intercept?(message: JsonRpcMessage): boolean;
}

type HoldReason = 'channel' | 'congestion';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One end of an open WebSocket as an SDK `Transport`: one text frame, or one sealed binary one, is one JSON-RPC message. */
export class SocketTransport implements ChannelTransport, SocketEvents {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: NonNullable<ChannelTransport['onmessage']>;
  readonly #options: SocketTransportOptions;
  readonly #socket: ChannelSocket;
  readonly #heartbeat: Heartbeat | undefined;
  readonly #holds = new Set<HoldReason>();
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #endCode: number = CLOSE_CODES.normal;
  /** What this end has ended the connection with, or the peer inside the channel. */
  #ending: { readonly code: number; readonly reason: string } | undefined;
  #closeCode: number | undefined;
  #closeReason: string | undefined;
  #writable: { readonly promise: Promise<void>; resolve(): void } | undefined;
  #cancelSlowReader: CancelTimer | undefined;
  #cancelGrace: CancelTimer | undefined;
  #controlFrames = 0;
  #controlSince = Number.NEGATIVE_INFINITY;

  constructor(options: SocketTransportOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { socket, clock, heartbeat } = options;
    this.#heartbeat =
      heartbeat &&
      new Heartbeat({
        clock,
        ...heartbeat,
        ping: () => socket.ping?.(),
        bytesRead: () => socket.bytesRead,
        onTimeout: () => this.#cut(CLOSE_CODES.heartbeatTimeout, 'heartbeat timeout'),
      });
  }

  /** The code the connection ended with, whoever chose it; `undefined` while it is open. */
  get closeCode(): number | undefined {
    return this.#closeCode;
  }

  get closeReason(): string | undefined {
    return this.#closeReason;
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** The peer answers nothing any more: the close frame is for whoever looks at the wire. */
  #cut(code: number, reason: string): void {
    void this.close(code, reason);
    this.#socket.terminate();
  }

  /** The peer broke a rule. */
  #refuse(code: number, reason: string): void {
    this.#socket.readSlowly?.(this.#options.clock);
    void this.close(code, reason);
  }

  async start(): Promise<void> {
    this.#socket.events = this;
    if (this.#options.channel !== undefined) this.#options.traffic.attach(this.#options.channel);
    this.#heartbeat?.start();
  }

  /**
   * Sends one message. Resolves once at most `maxBufferedBytes` are waiting for the peer to read.
   *
   * @throws RpcError `unavailable` when the connection is, or gets, closed.
   */
  async send(message: JSONRPCMessage): Promise<void> {
    await this.sendText(JSON.stringify(message));
  }

  /** {@link send} for a message that is JSON already. */
  async sendText(text: string): Promise<void> {
    this.#write(text);
    while (this.#writable !== undefined) await this.#writable.promise;
    if (this.#closeCode !== undefined) throw gone();
  }

  /** Sends without waiting for the peer to read. @throws as {@link send} does, `payload_too_large` included. */
  write(message: object): void {
    this.#write(JSON.stringify(message));
  }

  #write(text: string): void {
    if (this.#ending !== undefined || !this.#socket.isOpen) throw gone();
    this.#options.traffic.sent(this.#dispatch(text));
    if (this.#writable === undefined && this.#socket.bufferedBytes > this.#options.maxBufferedBytes) this.#congest();
  }

  pause(): void {
    this.#hold('channel');
  }

  resume(): void {
    this.#release('channel');
  }

  /** Chooses the code that a later {@link close} without one sends. */
  endWith(code: number): void {
    this.#endCode = code;
  }

  /** Says goodbye and resolves when the connection has ended, at the latest after {@link CLOSE_GRACE_MS}. */
  async close(code: number = this.#endCode, reason = ''): Promise<void> {
    if (this.#closeCode !== undefined) return;
    if (this.#ending === undefined) {
      this.#ending = { code, reason };
      this.#sayGoodbye(code, reason);
      this.#expectEnd();
    }
    await this.#closed;
  }

  /** Cuts the connection without a word. */
  terminate(): void {
    this.#ending ??= { code: CLOSE_CODES.abnormal, reason: '' };
    this.#socket.terminate();
  }

  /** As {@link SocketEvents} has it, like the four below. */
  received(data: string | Uint8Array, byteLength: number): void {
    this.#heartbeat?.seen();
    if (this.#ending !== undefined) return;
    if ((typeof data === 'string') !== (this.#options.channel === undefined)) {
      this.#refuse(CLOSE_CODES.unsupportedData, typeof data === 'string' ? 'messages are sealed' : 'messages are text');
      return;
    }
    if (typeof data === 'string') this.#read(data, byteLength);
    else this.#unseal(data);
  }

  #unseal(frame: Uint8Array): void {
    let event: NoiseEvent;
    try {
      event = (this.#options.channel as NoiseChannel).open(frame);
    } catch {
      // One answer to whatever was wrong: nobody learns what the channel thought of a frame.
      this.#refuse(CLOSE_CODES.noiseRefused, '');
      return;
    }
    if (event.kind === 'close') {
      this.#ending = { code: event.code, reason: event.reason };
      this.#socket.close(CLOSE_CODES.normal, '');
      this.#expectEnd();
    } else if (event.kind === 'message') {
      let text: string;
      try {
        text = decoder.decode(event.bytes);
      } catch {
        this.#refuse(CLOSE_CODES.invalidText, 'not UTF-8');
        return;
      }
      this.#read(text, event.bytes.byteLength);
    }
  }

  #read(text: string, byteLength: number): void {
    this.#options.traffic.received(byteLength);
    let message: JsonRpcMessage;
    try {
      message = parseJsonRpc(text, this.#options);
    } catch (error) {
      if (!(error instanceof JsonRpcParseError)) throw error;
      this.#options.onMalformed(error);
      return;
    }
    if (this.#options.intercept?.(message)) return;
    this.onmessage?.(message as JSONRPCMessage);
  }

  alive(): void {
    this.#heartbeat?.seen();
    if (this.#ending !== undefined) return;
    const now = this.#options.clock.now();
    if (now - this.#controlSince >= CONTROL_WINDOW_MS) {
      this.#controlSince = now;
      this.#controlFrames = 0;
    }
    this.#controlFrames += 1;
    if (this.#controlFrames > MAX_CONTROL_FRAMES) this.#cut(CLOSE_CODES.policyViolation, 'too many pings');
  }

  /** Gives the length of the message. */
  #dispatch(text: string): number {
    const { channel, maxSentBytes } = this.#options;
    if (channel === undefined) return this.#socket.send(text);
    const bytes = encoder.encode(text);
    if (maxSentBytes !== undefined && bytes.byteLength > maxSentBytes) {
      throw new RpcError('payload_too_large', `The message measures ${bytes.byteLength} bytes; the peer reads ${maxSentBytes}`, {
        data: { maxBytes: maxSentBytes },
      });
    }
    this.#socket.send(channel.seal(bytes));
    return bytes.byteLength;
  }

  /** A close frame proves nothing inside Noise, so the code is sealed and the frame says no more than that it is over. */
  #sayGoodbye(code: number, reason: string): void {
    const { channel } = this.#options;
    if (channel === undefined || channel.isDestroyed || !this.#socket.isOpen) {
      this.#socket.close(code, reason);
      return;
    }
    this.#socket.send(channel.sealClose(code, reason));
    this.#socket.close(CLOSE_CODES.normal, '');
  }

  #congest(): void {
    let resolve = () => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#writable = { promise, resolve };
    this.#socket.watchWritten?.();
    const { slowReaderTimeoutMs, clock } = this.#options;
    if (slowReaderTimeoutMs === undefined) return;
    this.#hold('congestion');
    this.#cancelSlowReader = clock.setTimeout(() => {
      this.#refuse(CLOSE_CODES.slowReader, 'slow reader');
    }, slowReaderTimeoutMs);
  }

  written(): void {
    if (this.#writable === undefined || this.#socket.bufferedBytes > this.#options.maxBufferedBytes) return;
    this.#relieve();
    this.#release('congestion');
  }

  #relieve(): void {
    this.#cancelSlowReader?.();
    this.#cancelSlowReader = undefined;
    this.#writable?.resolve();
    this.#writable = undefined;
  }

  #hold(reason: HoldReason): void {
    this.#holds.add(reason);
    if (this.#ending !== undefined) return;
    this.#socket.pause?.();
    this.#heartbeat?.suspend();
  }

  #release(reason: HoldReason): void {
    if (!this.#holds.delete(reason) || this.#holds.size > 0) return;
    this.#socket.resume?.();
    this.#heartbeat?.resume();
  }

  failed(error: Error, code: number | undefined): void {
    if (code !== undefined && this.#ending === undefined) {
      this.#ending = { code, reason: '' };
      this.#socket.readSlowly?.(this.#options.clock);
      this.#expectEnd();
    }
    this.onerror?.(error);
  }

  /** Reads on, so that the peer's close frame is seen, and cuts the connection when it does not come. */
  #expectEnd(): void {
    this.#heartbeat?.stop();
    this.#socket.resume?.();
    this.#cancelGrace ??= this.#options.clock.setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
  }

  ended(code: number, reason: string): void {
    this.#heartbeat?.stop();
    this.#cancelGrace?.();
    const { channel, traffic } = this.#options;
    // Without an announcement inside the channel, whoever sits in between may have made it up.
    const end = this.#ending ?? (channel === undefined ? { code, reason } : { code: CLOSE_CODES.abnormal, reason: '' });
    this.#closeCode = end.code;
    this.#closeReason = end.reason;
    if (channel !== undefined) {
      channel.destroy();
      traffic.detach(channel);
    }
    this.#relieve();
    this.#resolveClosed();
    this.onclose?.();
  }
}

function gone(): RpcError {
  return new RpcError('unavailable', 'The WebSocket is closed');
}
