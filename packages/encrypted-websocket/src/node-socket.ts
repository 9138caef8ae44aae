import { WebSocket } from 'ws';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';

/** The TCP or TLS socket underneath. */
interface Network {
  readonly bytesRead?: number;
  cork?(): void;
  uncork?(): void;
}

/** Bytes of one turn's frames that are gathered at most, for one system call and one TLS record to carry many of them. */
const MAX_GATHERED_BYTES = 16_384;

/** An open WebSocket of `ws`. Whoever makes one owns the socket no longer. */
export class NodeSocket implements ChannelSocket {
  events: SocketEvents | undefined;
  readonly #socket: WebSocket;
  readonly #network: Network | undefined;
  #gatheredBytes = 0;
  readonly #written = (error?: Error | null) => {
    // A write that fails also ends the connection, and whoever waits is told then.
    if (error == null) this.events?.written();
  };

  constructor(socket: WebSocket, network: Network | undefined) {
    this.#socket = socket;
    this.#network = network;
    const alive = () => this.events?.alive();
    socket.on('message', (data: Buffer, isBinary: boolean) => this.events?.received(isBinary ? data : data.toString(), data.byteLength));
    socket.on('ping', alive);
    socket.on('pong', alive);
    socket.on('error', (error) => this.events?.failed(error, closeCodeOf(error)));
    socket.on('close', (code, reason) => this.events?.ended(code, reason.toString()));
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  get bytesRead(): number {
    return this.#network?.bytesRead ?? 0;
  }

  send(data: string | Uint8Array): number {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    if (this.#gatheredBytes === 0) this.#gather();
    this.#gatheredBytes += bytes.byteLength + 1;
    this.#socket.send(bytes, { binary: bytes === data }, this.#written);
    if (this.#gatheredBytes > MAX_GATHERED_BYTES) this.#flush();
    return bytes.byteLength;
  }

  #gather(): void {
    this.#network?.cork?.();
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    if (this.#gatheredBytes === 0) return;
    this.#gatheredBytes = 0;
    this.#network?.uncork?.();
  }

  ping(): void {
    if (this.isOpen) this.#socket.ping();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(code: number, reason: string): void {
    this.#flush();
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#flush();
    this.#socket.terminate();
  }
}

/** The code ws closes with after a protocol error of the peer; `undefined` for a network failure. */
function closeCodeOf(error: Error): number | undefined {
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string') return undefined;
  // What zlib says of a compressed message that is none. ws closes with 1007 then.
  if (code.startsWith('Z_')) return CLOSE_CODES.invalidText;
  if (!code.startsWith('WS_ERR_')) return undefined;
  switch (code) {
    case 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH':
    case 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH':
      return CLOSE_CODES.messageTooBig;
    case 'WS_ERR_INVALID_UTF8':
      return CLOSE_CODES.invalidText;
    case 'WS_ERR_TOO_MANY_BUFFERED_PARTS':
      return CLOSE_CODES.policyViolation;
    default:
      return CLOSE_CODES.protocolError;
  }
}
