import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RequestGuard } from '@mcp-blocks/core/node';
import { AddressList } from '../address-list.js';
import { metricsResponse } from '../http/metrics-response.js';
import { refusalResponse } from '../http/refusal.js';
import type { MetricsPage } from '../metrics-page.js';
import type { PoolFigures } from './pool-figures.js';
import type { PoolStatusOptions } from './worker-pool-options.js';

/** How many workers there should be, and how many serve. */
interface Readiness {
  readonly workers: number;
  readonly serving: number;
}

/** `/healthz`, `/readyz` and metrics of a whole pool. */
export class StatusServer {
  readonly #options: PoolStatusOptions;
  readonly #readiness: () => Readiness;
  readonly #figures: PoolFigures;
  readonly #nobody = new AddressList('status.trustedProxies', []);
  readonly #guard: RequestGuard;
  #page: MetricsPage | undefined;
  #server: Server | undefined;

  constructor(options: PoolStatusOptions, readiness: () => Readiness, figures: PoolFigures) {
    this.#options = options;
    this.#readiness = readiness;
    this.#figures = figures;
    const { host = '127.0.0.1' } = options;
    // Whoever probes an address from outside asks for it by that; metrics need an address or the token then.
    this.#guard = new RequestGuard({ bindAddress: host, allowedHosts: [host] });
  }

  get url(): string | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    if (address === undefined || address === null) return undefined;
    return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  }

  async listen(): Promise<void> {
    const { port, host = '127.0.0.1', metrics } = this.#options;
    if (metrics !== undefined) {
      const { prometheus } = await import('../prometheus.js');
      this.#page = { ...prometheus(metrics), render: () => this.#figures.render() };
    }
    const server = createServer((request, response) => void this.#answer(request, response));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, () => resolve(void server.off('error', reject)));
    });
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const { status, headers, body } = await this.#reply(request);
    response.writeHead(status, { ...headers, 'cache-control': 'no-store' }).end(body);
  }

  async #reply(request: IncomingMessage): Promise<{ status: number; headers: Record<string, string>; body: string }> {
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === '/healthz') return json(200, { status: 'ok' });
    if (path === '/readyz') {
      const readiness = this.#readiness();
      const isReady = readiness.serving > 0;
      return json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'not ready', ...readiness });
    }
    if (this.#page === undefined || path !== this.#page.path) return json(404, { status: 'not found' });
    const answer = await metricsResponse(this.#page, request, this.#nobody, this.#guard).catch(refusalResponse);
    return { status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() };
  }
}

function json(status: number, value: object): { status: number; headers: Record<string, string>; body: string } {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}
