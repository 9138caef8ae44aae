import { connect, createServer, type Server, type Socket } from 'node:net';
import type { TransportLink } from './transport-harness.js';

/** Where a socket listens: a TCP port on 127.0.0.1, or the path of a Unix socket. */
export type RelayAddress = { readonly port: number } | { readonly path: string };

/**
 * Stands between a client and a server on sockets, TCP or Unix, and fails on demand. It passes bytes and
 * knows no protocol, so TLS goes through it as well.
 */
export class TransportRelay implements TransportLink {
  readonly #server: Server;
  readonly #target: RelayAddress;
  readonly #pairs = new Set<{ readonly client: Socket; readonly server: Socket }>();
  #stalled = false;
  #frozen = false;

  private constructor(target: RelayAddress) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#relay(client));
  }

  /** Listens at `at`, by default any free port, and passes every connection on to `target`. */
  static async open(target: RelayAddress, at: RelayAddress = { port: 0 }): Promise<TransportRelay> {
    const relay = new TransportRelay(target);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject);
      relay.#server.listen('path' in at ? at : { ...at, host: '127.0.0.1' }, resolve);
    });
    return relay;
  }

  /** The TCP port it listens on; 0 on a Unix socket. */
  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  stall(): void {
    this.#stalled = true;
    for (const { server } of this.#pairs) server.pause();
  }

  resume(): void {
    this.#stalled = false;
    for (const { server } of this.#pairs) server.resume();
  }

  freeze(): void {
    this.#frozen = true;
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  /** Breaks the connections there are. Later ones work again. */
  cut(): void {
    this.#frozen = false;
    this.#stalled = false;
    for (const { client, server } of this.#pairs) {
      reset(client);
      reset(server);
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    await closed;
  }

  #relay(client: Socket): void {
    const server = connect({ ...this.#target, allowHalfOpen: true });
    const pair = { client, server };
    this.#pairs.add(pair);
    this.#pass(client, server);
    this.#pass(server, client);
    if (this.#frozen) return;
    client.resume();
    if (this.#stalled) server.pause();
  }

  #pass(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => {
      if (to.write(chunk)) return;
      from.pause();
      to.once('drain', () => {
        if (!this.#frozen && !(this.#stalled && from !== to && this.#isServer(from))) from.resume();
      });
    });
    from.on('end', () => {
      if (!this.#frozen) to.end();
    });
    from.on('error', () => {});
    from.on('close', () => {
      for (const pair of this.#pairs) if (pair.client === from || pair.server === from) this.#ended(pair);
    });
  }

  #isServer(socket: Socket): boolean {
    for (const { server } of this.#pairs) if (server === socket) return true;
    return false;
  }

  /** One end has closed. The other is told, unless the cable is out. */
  #ended(pair: { readonly client: Socket; readonly server: Socket }): void {
    if (this.#frozen) return;
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }
}

/** With RST where the socket has one: TCP. */
function reset(socket: Socket): void {
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
