import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * `stalled`: bytes wait for better weather, as in TCP's retransmissions. `lost`: they vanish. `deaf`: those of
 * the server vanish. `slow`: they come later.
 */
export type Weather = 'fair' | 'stalled' | 'lost' | 'deaf' | 'slow';

const SLOW_MS = 60;
const LISTEN_AGAIN_MS = 20;

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Something of what it carried has vanished: it cannot go on. */
  torn: boolean;
  readonly up: Lane;
  readonly down: Lane;
}

/** One direction: what is under way, and when the last of it arrives. */
interface Lane {
  readonly underWay: (() => void)[];
  dueAt: number;
}

/** Stands between clients and a server on real sockets and does to the bytes what networks do. */
export class FaultProxy {
  readonly #pairs = new Set<Pair>();
  #server: Server | undefined;
  #port = 0;
  #target = 0;
  #weather: Weather = 'fair';

  get port(): number {
    return this.#port;
  }

  /** Lets connections in, always at the same port, and passes them on to the target. */
  async open(target = this.#target): Promise<void> {
    this.#target = target;
    // Somebody may have had the port while it was shut.
    while (this.#server === undefined) {
      this.#server = await this.#listen();
      if (this.#server === undefined) await new Promise((resolve) => setTimeout(resolve, LISTEN_AGAIN_MS));
    }
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Nobody listens any longer. */
  shut(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Resets what is open. */
  cut(): void {
    for (const pair of this.#pairs) this.#reset(pair);
  }

  turn(weather: Weather): void {
    this.#weather = weather;
    for (const pair of this.#pairs) {
      if (weather === 'fair' && pair.torn) this.#reset(pair);
      for (const socket of [pair.client, pair.server]) {
        if (weather === 'stalled') socket.pause();
        else socket.resume();
      }
    }
  }

  #listen(): Promise<Server | undefined> {
    return new Promise((resolve) => {
      const server = createServer({ noDelay: true }, (client) => this.#relay(client));
      server.once('error', () => resolve(undefined));
      server.listen(this.#port, '127.0.0.1', () => resolve(server));
    });
  }

  #relay(client: Socket): void {
    const server = connect({ port: this.#target, host: '127.0.0.1', noDelay: true });
    const pair: Pair = { client, server, torn: false, up: { underWay: [], dueAt: 0 }, down: { underWay: [], dueAt: 0 } };
    this.#pairs.add(pair);
    this.#pass(pair, 'up', client, server);
    this.#pass(pair, 'down', server, client);
    if (this.#weather === 'stalled') for (const socket of [client, server]) socket.pause();
  }

  #pass(pair: Pair, direction: 'up' | 'down', from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      if (this.#vanishes(direction)) {
        pair.torn = true;
        return;
      }
      this.#deliver(pair[direction], () => {
        if (to.writable && !to.write(chunk)) {
          from.pause();
          to.once('drain', () => this.#weather !== 'stalled' && from.resume());
        }
      });
    });
    from.on('error', () => {});
    from.on('close', () => {
      // Nor does the other end hear of the end.
      if (this.#vanishes(direction)) pair.torn = true;
      else this.#deliver(pair[direction], () => this.#end(pair));
    });
  }

  #vanishes(direction: 'up' | 'down'): boolean {
    return this.#weather === 'lost' || (this.#weather === 'deaf' && direction === 'down');
  }

  /** Now, or in order after what is under way. */
  #deliver(lane: Lane, action: () => void): void {
    const now = performance.now();
    if (this.#weather !== 'slow' && lane.underWay.length === 0) {
      action();
      return;
    }
    lane.dueAt = Math.max(lane.dueAt, this.#weather === 'slow' ? now + SLOW_MS : now);
    lane.underWay.push(action);
    setTimeout(() => lane.underWay.shift()?.(), lane.dueAt - now);
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }

  #reset(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  }
}
