import { get } from 'node:http';

const PROBE_INTERVAL_MS = 20;

/** Round-robin over the nodes whose `/readyz` answers 200: all that a balancer must do for a drain to lose nothing. */
export class Balancer {
  readonly #ports: readonly number[];
  readonly #ready = new Set<number>();
  readonly #onUnready: ((port: number) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #turn = 0;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
    for (const port of ports) this.#ready.add(port);
    this.#timer = setInterval(() => {
      for (const port of ports) this.#probe(port);
    }, PROBE_INTERVAL_MS);
  }

  /** The next ready node; waits while there is none. */
  async next(): Promise<number> {
    for (;;) {
      for (let tries = 0; tries < this.#ports.length; tries += 1) {
        const port = this.#ports[this.#turn++ % this.#ports.length] as number;
        if (this.#ready.has(port)) return port;
      }
      await new Promise((resolve) => setTimeout(resolve, PROBE_INTERVAL_MS));
    }
  }

  /** Told of every node that stops being ready. */
  onUnready(listener: (port: number) => void): void {
    this.#onUnready.push(listener);
  }

  /** A node that a caller could not reach. */
  unreachable(port: number): void {
    if (!this.#ready.delete(port)) return;
    for (const listener of this.#onUnready) listener(port);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #probe(port: number): void {
    const request = get({ port, host: '127.0.0.1', path: '/readyz', agent: false }, (response) => {
      response.resume();
      if (response.statusCode === 200) this.#ready.add(port);
      else this.unreachable(port);
    });
    request.on('error', () => this.unreachable(port));
  }
}
