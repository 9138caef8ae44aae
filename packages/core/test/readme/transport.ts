import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { anonymous } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { sdkTransportClient, type TransportHarness, TransportRelay, TransportTestService } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';

/** A transport of our own: JSON messages on a TCP socket, each followed by a NUL. */
class NulTransport implements Transport {
  onclose?: () => void;
  onmessage?: Transport['onmessage'];
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  async start(): Promise<void> {
    this.#socket.on('error', () => {}).on('close', () => this.onclose?.());
    void this.#read().catch(() => {});
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#socket.write(`${JSON.stringify(message)}\0`)) return;
    // Whoever sends waits for who reads.
    await new Promise<void>((resolve) => this.#socket.once('drain', resolve).once('close', resolve));
  }

  async close(): Promise<void> {
    this.#socket.destroy();
  }

  async #read(): Promise<void> {
    let text = '';
    for await (const chunk of this.#socket.setEncoding('utf8')) {
      const messages = `${text}${chunk}`.split('\0');
      text = messages.pop() ?? '';
      for (const message of messages) {
        this.onmessage?.(JSON.parse(message) as JSONRPCMessage);
        // The SDK's client handles notifications a moment later than responses: one message at a time.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }
}

/** How the contract serves it, and what it does not do. */
export const harness: TransportHarness = {
  era: 'modern',
  lacks: {
    'request timeout': 'the server of this example has none',
    'size limit': 'messages may have any size',
    'slow readers are cut': 'they are waited for',
    'server liveness': 'there is no heartbeat',
    'client liveness': 'there is no heartbeat',
    resumption: 'a connection is not resumed',
  },
  async serve() {
    const service = new TransportTestService();
    const server = createServer((socket) => {
      sockets.add(socket);
      serveChannel(service, new NulTransport(socket), { principal: anonymous, transport: 'nul' });
    });
    const sockets = new Set<Socket>();
    const open: (() => Promise<void>)[] = [];
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const stop = async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
    return {
      probe: service,
      async connect({ answer }) {
        const relay = await TransportRelay.open({ port: (server.address() as AddressInfo).port });
        const sdk = new Client(
          { name: 'test', version: '1.0.0' },
          { capabilities: { elicitation: {} }, versionNegotiation: { mode: 'auto' } },
        );
        sdk.setRequestHandler('elicitation/create', ({ params }) => answer(params as never) as never);
        const client = sdkTransportClient(sdk);
        await sdk.connect(new NulTransport(connect(relay.port, '127.0.0.1')));
        open.push(() => sdk.close().then(() => relay.close()));
        return { client, link: relay };
      },
      stop,
      close: async () => {
        await stop();
        for (const close of open) await close();
      },
    };
  },
};
