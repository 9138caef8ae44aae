import { connect, type Socket } from 'node:net';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';

const NEWLINE = 0x0a;

/** The client's end of MCP over a Unix socket, as TRANSPORT.md has it. */
export class LineClientTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  readonly #path: string;
  #socket: Socket | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async start(): Promise<void> {
    const socket = connect(this.#path);
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.on('error', (error) => this.onerror?.(error));
    socket.on('close', () => this.onclose?.());
    // An end that breaks is told of by the events above.
    this.#read(socket).catch(() => {});
  }

  async #read(socket: Socket): Promise<void> {
    let unread: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      let rest = chunk;
      for (let newline = rest.indexOf(NEWLINE); newline !== -1; newline = rest.indexOf(NEWLINE)) {
        const line = Buffer.concat([...unread, rest.subarray(0, newline)]);
        unread = [];
        rest = rest.subarray(newline + 1);
        this.onmessage?.(JSON.parse(line.toString()) as JSONRPCMessage);
        // SDK clients handle a notification a promise turn later but a response at once.
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (rest.length > 0) unread.push(rest);
    }
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) throw new Error('The socket is closed');
    socket.write(`${JSON.stringify(message)}\n`);
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
  }
}
