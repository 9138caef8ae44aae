import type { Clock } from '@mcp-blocks/core';

/** What a {@link ChannelSocket} tells its owner. */
export interface SocketEvents {
  /** A message: text as a string, binary as bytes. `byteLength` is what it measured on the wire, unmasked and inflated. */
  received(data: string | Uint8Array, byteLength: number): void;
  /** The peer answered a ping or sent one. */
  alive(): void;
  /** Some of what waited to be sent has left. */
  written(): void;
  /** The network failed, or the peer broke a rule of WebSocket and the socket is closing with `closeCode`. */
  failed(error: Error, closeCode: number | undefined): void;
  /** Called once, last. */
  ended(code: number, reason: string): void;
}

/** An open WebSocket: `ws` on Node, the platform's own in a browser. */
export interface ChannelSocket {
  /** Its owner. What comes while there is none is lost. */
  events: SocketEvents | undefined;
  readonly isOpen: boolean;
  /** Bytes handed to `send` and not yet to the network. */
  readonly bufferedBytes: number;
  /** Bytes received so far, those of unfinished messages included where the platform tells. */
  readonly bytesRead: number;
  /** Sends a string as text, bytes as binary. Gives the message's length in bytes. */
  send(data: string | Uint8Array): number;
  /** Looks after `written` where the platform does not tell by itself; asked each time that somebody begins to wait. */
  watchWritten?(): void;
  /** Sends a ping frame, where the platform can. */
  ping?(): void;
  /** Stops reading, where the platform can. */
  pause?(): void;
  resume?(): void;
  /** Reads no more than a little now and then, where the platform can: the peer broke a rule, and may go on. */
  readSlowly?(clock: Clock): void;
  /** Starts the closing handshake. */
  close(code: number, reason: string): void;
  /** Cuts the connection without a word. */
  terminate(): void;
}
