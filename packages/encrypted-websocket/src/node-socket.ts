import type { CancelTimer, Clock } from '@mcp-blocks/core';
import { WebSocket } from 'ws';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';
import type { TurnShare } from './turn-share.js';

/** The TCP or TLS socket underneath. */
interface Network {
  readonly bytesRead?: number;
  cork?(): void;
  uncork?(): void;
  pause?(): unknown;
  resume?(): unknown;
  on?(event: 'data', listener: () => void): unknown;
}

/** Bytes of one turn's frames that are gathered at most, for one system call and one TLS record to carry many of them. */
const MAX_GATHERED_BYTES = 16_384;

/** Bytes of messages that have come and wait for a later turn; what would exceed them is dealt with at once. */
const MAX_WAITING_BYTES = 1_048_576;

/** Messages that are told before what they set off has run. */
const MAX_ROW = 64;

/** Whoever broke a rule is read from this often, some 64 KiB, so that a close frame of theirs is found yet a flood is not drunk. */
const SLOW_READ_MS = 100;

/** What the peer has done, and its bytes. */
interface Happening {
  readonly tell: () => void;
  readonly bytes: number;
}

/** An open WebSocket of `ws`. Whoever makes one owns the socket no longer. */
export class NodeSocket implements ChannelSocket {
  events: SocketEvents | undefined;
  readonly #socket: WebSocket;
  readonly #network: Network | undefined;
  readonly #turns: TurnShare | undefined;
  #lastTurn = -1;
  /** Messages told since what they set off has run, and how many that may be. */
  #row = 0;
  #maxRow = 1;
  /** What has happened and the events have not been told. */
  readonly #waiting: Happening[] = [];
  #waitingBytes = 0;
  #isPaused = false;
  #cancelSlowRead: CancelTimer | undefined;
  #gatheredBytes = 0;
  readonly #written = (error?: Error | null) => {
    // A write that fails also ends the connection, and whoever waits is told then.
    if (error == null) this.events?.written();
  };

  /** @param turns - shares the time of the event loop with other sockets; absent: messages are told as they come. */
  constructor(socket: WebSocket, network: Network | undefined, turns?: TurnShare) {
    this.#socket = socket;
    this.#network = network;
    this.#turns = turns;
    socket.on('message', (data: Buffer, isBinary: boolean) =>
      this.#tell(() => this.events?.received(isBinary ? data : data.toString(), data.byteLength), data.byteLength),
    );
    socket.on('ping', (data: Buffer) =>
      this.#tell(() => {
        this.events?.alive();
        // Whoever reads nothing learns nothing from a pong.
        if (this.isOpen && socket.bufferedAmount <= MAX_GATHERED_BYTES) socket.pong(data);
      }, data.byteLength),
    );
    socket.on('pong', () => this.#tell(() => this.events?.alive()));
    socket.on('error', (error) => this.#tell(() => this.events?.failed(error, closeCodeOf(error))));
    socket.on('close', (code, reason) => {
      this.#cancelSlowRead?.();
      this.#tell(() => this.events?.ended(code, reason.toString()));
    });
  }

  /** In the order of arrival, and no more in one turn of the event loop than its time is for. */
  #tell(tell: () => void, bytes = 0): void {
    const turns = this.#turns;
    if (turns === undefined) {
      tell();
      return;
    }
    if (this.#waiting.length === 0 && this.#mayTell(turns)) {
      this.#count(turns);
      tell();
      return;
    }
    this.#waitingBytes += bytes;
    if (this.#waiting.push({ tell, bytes }) === 1) {
      this.#socket.pause();
      turns.wait(() => this.#tellNext(turns));
    }
    while (this.#waitingBytes > MAX_WAITING_BYTES) this.#tellOldest();
  }

  #mayTell(turns: TurnShare): boolean {
    return this.#lastTurn !== turns.turn || (this.#row < this.#maxRow && !turns.isOver);
  }

  #tellNext(turns: TurnShare): boolean {
    do {
      this.#count(turns);
      this.#tellOldest();
    } while (this.#waiting.length > 0 && this.#mayTell(turns));
    if (this.#waiting.length > 0) return true;
    if (!this.#isPaused) this.#socket.resume();
    return false;
  }

  #tellOldest(): void {
    const oldest = this.#waiting.shift();
    if (oldest === undefined) return;
    this.#waitingBytes -= oldest.bytes;
    oldest.tell();
  }

  /** What messages set off runs after them: how many go in a row depends on what the row before has cost. */
  #count(turns: TurnShare): void {
    this.#lastTurn = turns.turn;
    this.#row += 1;
    if (this.#row > 1) return;
    queueMicrotask(() =>
      process.nextTick(() => {
        if (turns.isOver) this.#maxRow = Math.max(1, this.#maxRow >> 1);
        else if (this.#row >= this.#maxRow) this.#maxRow = Math.min(MAX_ROW, this.#maxRow * 2);
        this.#row = 0;
      }),
    );
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
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#waiting.length === 0) this.#socket.resume();
  }

  readSlowly(clock: Clock): void {
    if (this.#cancelSlowRead !== undefined) return;
    this.#cancelSlowRead = () => {};
    const network = this.#network;
    network?.on?.('data', () => {
      network.pause?.();
      this.#cancelSlowRead?.();
      this.#cancelSlowRead = clock.setTimeout(() => network.resume?.(), SLOW_READ_MS);
    });
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
