import type { CancelTimer, Clock } from '@mcp-blocks/core';
import type { ChannelSocket, SocketEvents } from './channel-socket.js';
import { CLOSE_CODES } from './close-codes.js';

/** How often an end that waits for the peer to read looks whether it has: browsers do not tell. */
const WRITABLE_POLL_MS = 20;

/** An open WebSocket of the platform (the HTML standard's). Whoever makes one owns the socket no longer. */
export class BrowserSocket implements ChannelSocket {
  events: SocketEvents | undefined;
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #maxFrameBytes: number;
  #bytesRead = 0;
  #cancelPoll: CancelTimer | undefined;
  /** Set for the rest of the call stack in which a message was delivered. */
  #delivering = false;
  /** What came in one call stack with the message before it, oldest first. */
  #late: (() => void)[] = [];

  /** @param maxFrameBytes - a larger message closes the socket with 1009; it has been received by then. */
  constructor(socket: WebSocket, clock: Clock, maxFrameBytes: number) {
    this.#socket = socket;
    this.#clock = clock;
    this.#maxFrameBytes = maxFrameBytes;
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }: { data: unknown }) => this.#deliver(() => this.#receive(data as string | ArrayBuffer));
    // Says nothing of what happened; the close event that follows does not say more than 1006.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#deliver(() => this.#end(code, reason));
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  send(data: string | Uint8Array): number {
    this.#socket.send(data as string | Uint8Array<ArrayBuffer>);
    return typeof data === 'string' ? utf8Length(data) : data.byteLength;
  }

  close(code: number, reason: string): void {
    // The only codes that the HTML standard lets a page choose.
    if (code === CLOSE_CODES.normal || code >= 3000) this.#socket.close(code, reason);
    else this.#socket.close();
  }

  terminate(): void {
    const { events } = this;
    this.#socket.close();
    // A browser waits for the peer to answer. Nobody here does any more.
    if (events !== undefined) this.#end(CLOSE_CODES.abnormal, '');
  }

  /**
   * Browsers run promises between two messages; Node's WebSocket does not when both came in one read. SDK clients
   * need it: they handle a notification a promise turn later but a response at once.
   */
  #deliver(act: () => void): void {
    if (this.#delivering || this.#late.length > 0) {
      if (this.#late.push(act) === 1) setTimeout(() => this.#deliverLate());
      return;
    }
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
    });
    act();
  }

  #deliverLate(): void {
    this.#late[0]?.();
    this.#late.shift();
    if (this.#late.length > 0) setTimeout(() => this.#deliverLate());
  }

  #receive(data: string | ArrayBuffer): void {
    const byteLength = typeof data === 'string' ? utf8Length(data) : data.byteLength;
    this.#bytesRead += byteLength;
    if (byteLength > this.#maxFrameBytes) {
      this.events?.failed(new RangeError('The message is larger than is accepted'), CLOSE_CODES.messageTooBig);
      this.#socket.close();
      return;
    }
    this.events?.received(typeof data === 'string' ? data : new Uint8Array(data), byteLength);
  }

  watchWritten(): void {
    if (this.#cancelPoll !== undefined) return;
    this.#cancelPoll = this.#clock.setTimeout(() => {
      this.#cancelPoll = undefined;
      this.events?.written();
      if (this.isOpen && this.bufferedBytes > 0) this.watchWritten();
    }, WRITABLE_POLL_MS);
  }

  #end(code: number, reason: string): void {
    const { events } = this;
    this.events = undefined;
    this.#cancelPoll?.();
    events?.ended(code, reason);
  }
}

/** The length of a text in UTF-8, without encoding it. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    // Both halves of a pair count two, which makes the four bytes of its character.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return bytes;
}
