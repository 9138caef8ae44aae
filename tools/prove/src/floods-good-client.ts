import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type WebSocketClientOptions, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';
import { NOISE_KEYS, NOISE_PROTOCOL, type Ports } from './floods-setting.ts';

const PAUSE_MS = 3;

/** Calls one tool after the other, on a connection of each kind in turn. */
export class GoodClient {
  readonly #clients: readonly Client[];
  #latencies: number[] = [];
  #running: Promise<void> | undefined;
  #isOver = false;

  private constructor(clients: readonly Client[]) {
    this.#clients = clients;
  }

  static async start({ ws, wss, noise }: Ports): Promise<GoodClient> {
    const ca = readFileSync(new URL('../../../packages/encrypted-websocket/test/fixtures/test-only-ca.pem', import.meta.url));
    const ends: [string, WebSocketClientOptions][] = [
      [`ws://127.0.0.1:${ws}/ws`, {}],
      [`wss://127.0.0.1:${wss}/ws`, { tls: { ca } }],
      [`ws://127.0.0.1:${noise}/ws`, { noise: { protocol: NOISE_PROTOCOL, serverPublicKey: NOISE_KEYS.publicKey } }],
    ];
    const clients: Client[] = [];
    for (const [url, options] of ends) {
      const client = new Client({ name: 'good', version: '1.0.0' });
      await client.connect(new WebSocketClientTransport(url, options));
      clients.push(client);
    }
    const good = new GoodClient(clients);
    good.#running = good.#run();
    // Whoever waits for it hears of a failure.
    good.#running.catch(() => {});
    return good;
  }

  /** Milliseconds of the calls answered since it was asked before. @throws what a call has failed with. */
  async take(): Promise<number[]> {
    await Promise.race([this.#running, Promise.resolve()]);
    const taken = this.#latencies;
    this.#latencies = [];
    return taken;
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    for (const client of this.#clients) await client.close();
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#isOver; turn += 1) {
      const startedAt = performance.now();
      await (this.#clients[turn % this.#clients.length] as Client).callTool({ name: 'short', arguments: {} });
      this.#latencies.push(performance.now() - startedAt);
      await sleep(PAUSE_MS);
    }
  }
}
