import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type Clock,
  ConfigurationError,
  isRpcError,
  type JsonRpcMessage,
  type Listener,
  type ListenerHost,
  parseJsonRpc,
  RpcError,
  sleep,
  systemClock,
} from '@mcp-blocks/core';
import { clientCertificateOf, RequestGuard, refuseUntrusted, type TlsOptions } from '@mcp-blocks/core/node';
import { isJsonContentType } from '@modelcontextprotocol/server';
import { settledWithin } from '../deadline.js';
import { atTime } from '../expiry.js';
import type { MetricsSource } from '../metrics-page.js';
import { readBody } from './body.js';
import { clientAddress } from './client-address.js';
import { documentResponse } from './documents.js';
import { type Exchange, Exchanges } from './exchanges.js';
import { healthResponse } from './health.js';
import { type McpAnswer, McpEndpoint } from './mcp-endpoint.js';
import { metricsResponse } from './metrics-response.js';
import { sendResponse, toWebRequest } from './node-web.js';
import { type HttpOptions, type ResolvedHttpOptions, resolveHttpOptions } from './options.js';
import { HttpRefusal, refusalResponse } from './refusal.js';
import { checkOneHost, serverOptions } from './server-options.js';
import { WebPolicy } from './web-policy.js';

const METHODS = ['POST', 'GET', 'DELETE'];

/** Milliseconds that the rest of a refused body is read and thrown away, so that the client sees the refusal. */
const LINGER_MS = 2000;

/**
 * MCP over Streamable HTTP and HTTPS, both eras on one path, with `/healthz` and `/readyz` beside it.
 * See {@link HttpOptions}.
 *
 * @throws ConfigurationError for an option out of range, and when `allowedHosts` is missing on an address
 * that is not loopback.
 */
export function http(options: HttpOptions): HttpListener {
  return new HttpListener(options);
}

/** The listener made by {@link http}. */
export class HttpListener implements Listener {
  readonly name = 'http';
  readonly #options: ResolvedHttpOptions;
  readonly #guard: RequestGuard;
  readonly #web: WebPolicy;
  readonly #exchanges = new Exchanges();
  readonly #counted = new Set<Duplex>();
  #running: Running | undefined;
  #draining = false;

  constructor(options: HttpOptions) {
    this.#options = resolveHttpOptions(options);
    this.#guard = new RequestGuard({
      bindAddress: this.#options.host,
      ...(options.allowedHosts === undefined ? {} : { allowedHosts: options.allowedHosts }),
      ...(options.allowedOrigins === undefined ? {} : { allowedOrigins: options.allowedOrigins }),
    });
    this.#web = new WebPolicy({
      guard: this.#guard,
      cors: options.allowedOrigins !== undefined,
      isTls: options.tls !== undefined,
      bindAddress: this.#options.host,
    });
  }

  get endpoint(): string | undefined {
    return this.#urlOf(this.#options.tls === undefined ? 'http' : 'https', this.#options.path);
  }

  /** The URLs of the listeners that share the port. */
  get upgradeEndpoints(): readonly string[] {
    const urls = this.#options.upgrades.map(({ path }) => this.#urlOf(this.#options.tls === undefined ? 'ws' : 'wss', path));
    return urls.filter((url) => url !== undefined);
  }

  /**
   * Reads the certificate's files again, or takes other TLS options than before, for connections that come from
   * now on; open ones are not touched.
   *
   * @throws ConfigurationError when the listener has no `tls`, a file cannot be read, or certificate and key do
   * not belong together; what was in use stays in use.
   */
  reloadTls(next?: TlsOptions): void {
    const { tls } = this.#options;
    if (tls === undefined) throw new ConfigurationError('http.tls', 'the listener was made without it');
    tls.reload(next);
    if (this.#running !== undefined) tls.apply(this.#running.server as TlsServer);
  }

  /** Legacy sessions held at the moment. */
  get sessionCount(): number {
    return this.#running?.endpoint.sessionCount ?? 0;
  }

  /** @throws ConfigurationError when there is a page of metrics, and the host has no metrics to show on it. */
  async listen(host: ListenerHost & { readonly metricsSource?: MetricsSource }): Promise<void> {
    const { metrics } = this.#options;
    if (metrics !== undefined && host.metricsSource === undefined) {
      throw new ConfigurationError('http.metrics', 'only a SecureMCPServer has metrics to show');
    }
    this.#draining = false;
    const { tls, headersTimeoutMs, upgrades } = this.#options;
    const plain = serverOptions(this.#options);
    const server =
      tls === undefined
        ? createServer(plain)
        : createTlsServer({ ...plain, ...tls.serverOptions, handshakeTimeout: headersTimeoutMs, ALPNProtocols: ['http/1.1'] });
    const clock = host.clock ?? systemClock;
    const endpoint = new McpEndpoint(host, this.#options, clock);
    const running: Running = { server, host, clock, endpoint, cut: new AbortController(), sockets: new Set() };
    server.on('connection', (socket: Socket) => {
      running.sockets.add(socket);
      socket.once('close', () => running.sockets.delete(socket));
      const refusal = this.#options.gate.enter(socket);
      if (refusal !== undefined) this.#auditRefusal(running, socket.remoteAddress, refusal);
      if (refusal !== undefined || host.hasCapacity?.() === false) socket.destroy();
    });
    server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => this.#count(socket, host));
    if (tls !== undefined) {
      running.stopWatching = tls.watch(server as TlsServer, clock, (error) => host.onError(error));
      refuseUntrusted(server, (reason, remoteAddress) =>
        host.audit({
          type: 'auth.failed',
          time: clock.now(),
          outcome: 'denied',
          actor: '-',
          reason,
          transport: this.name,
          ...(remoteAddress === undefined ? {} : { remoteAddress }),
        }),
      );
    }
    server.on('request', (request, response) => void this.#answer(running, request, response));
    if (upgrades.length > 0) {
      for (const upgrade of upgrades) upgrade.attach(host);
      server.on('upgrade', (request, socket, head) => this.#upgrade(running, request, socket, head));
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#options.port, this.#options.host, () => {
        server.off('error', reject).on('error', (error) => host.onError(error));
        resolve();
      });
    });
    this.#running = running;
    if (host.metricsSource !== undefined) running.stopMetrics = metrics?.observe(host.metricsSource);
  }

  async drain(deadlineMs: number): Promise<void> {
    const running = this.#running;
    if (running === undefined || this.#draining) return;
    this.#draining = true;
    const delayMs = Math.min(this.#options.drainDelayMs, deadlineMs);
    if (delayMs > 0) await sleep(running.clock, delayMs, running.cut.signal).catch(() => {});
    const leftMs = deadlineMs - delayMs;
    // Also closes connections that are idle; those in use are asked to close with their next response.
    void closeServer(running);
    await Promise.all([
      settledWithin(this.#exchanges.none('call'), leftMs, running.clock),
      ...this.#options.upgrades.map((upgrade) => upgrade.drain(leftMs)),
    ]);
    await running.endpoint.close();
    // The last bytes of the subscriptions that were just ended.
    await settledWithin(this.#exchanges.none('call', 'subscription'), LINGER_MS, running.clock);
  }

  async close(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.#draining = true;
    running.cut.abort();
    running.stopMetrics?.();
    running.stopWatching?.();
    const closed = closeServer(running);
    await Promise.all([running.endpoint.close(), ...this.#options.upgrades.map((upgrade) => upgrade.close())]);
    running.server.closeAllConnections();
    // HTTP does not know of those that are in the TLS handshake.
    for (const socket of running.sockets) socket.destroy();
    await closed;
    // Their close events come a little later than the server's.
    for (const socket of this.#counted) this.#uncount(socket, running.host);
  }

  async #answer(running: Running, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = this.#exchanges.begin(request.socket);
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new RpcError('cancelled', 'The client is gone'));
    });
    const endStream = new AbortController();
    let answer: McpAnswer | undefined;
    let cancelExpiry = () => {};
    try {
      const reply = await this.#reply(running, request, exchange, gone.signal, (time) => {
        cancelExpiry = atTime(running.clock, time, () => endStream.abort());
      }).catch((error: unknown) => this.#refuse(running, request, error));
      answer = reply instanceof Response ? undefined : reply;
      const unread = isUnbounded(request, running.host.maxMessageBytes) || (reply instanceof Response && reply.status === 408);
      await sendResponse(response, answer?.response ?? (reply as Response), {
        close: this.#draining || unread,
        headers: this.#web.headers(request),
        maxBufferedBytes: this.#options.maxBufferedBytes,
        writeTimeoutMs: this.#options.writeTimeoutMs,
        endStream: endStream.signal,
        ...(unread ? { beforeEnd: discardRest(request, running.clock) } : {}),
      });
    } catch (error) {
      response.destroy();
      running.host.onError(error as Error);
    } finally {
      cancelExpiry();
      answer?.release?.();
      this.#exchanges.end(exchange);
      // A response that had begun before the drain could not ask its connection to close.
      if (running.closed !== undefined) running.server.closeIdleConnections();
    }
  }

  async #reply(
    { host, clock, endpoint }: Running,
    request: IncomingMessage,
    exchange: Exchange,
    gone: AbortSignal,
    expireAt: (time: number | undefined) => void,
  ): Promise<McpAnswer | Response> {
    checkOneHost(request);
    const path = (request.url ?? '/').split('?', 1)[0] as string;
    const health = healthResponse(path, !this.#draining && host.ready?.() !== false);
    if (health !== undefined) return health;
    const { metrics, gate } = this.#options;
    if (metrics !== undefined && path === metrics.path) return metricsResponse(metrics, request, gate.trustedProxies, this.#guard);
    const document = host.document?.(path);
    if (document !== undefined) return documentResponse(request.method ?? '', document);
    const remoteAddress = clientAddress(request, gate.trustedProxies);
    gate.check(remoteAddress);
    if (this.#exchanges.openOn(request.socket) > host.maxInFlight) {
      throw new RpcError('unavailable', 'Too many requests are in progress on this connection');
    }
    this.#guard.check(request.headers);
    if (path !== this.#options.path)
      throw new HttpRefusal(404, 'invalid_request', `There is nothing here; the MCP endpoint is ${this.#options.path}`);
    const preflight = this.#web.preflight(request, METHODS);
    if (preflight !== undefined) return preflight;
    const method = request.method ?? '';
    if (!METHODS.includes(method))
      throw new HttpRefusal(405, 'invalid_request', `${method} is not a method of MCP`, { allow: METHODS.join(', ') });
    const from = { transport: this.name, ...(remoteAddress === undefined ? {} : { remoteAddress }) };
    const certificate = clientCertificateOf(request.socket);
    const principal = await host.authenticate({
      ...from,
      header: (name) => headerOf(request, name),
      ...(certificate === undefined ? {} : { clientCertificate: certificate }),
    });
    let message: JsonRpcMessage | undefined;
    if (method === 'POST') {
      if (!isJsonContentType(request.headers['content-type'])) {
        throw new HttpRefusal(415, 'invalid_request', 'Content-Type: expected application/json');
      }
      const text = await readBody(request, { maxBytes: host.maxMessageBytes, timeoutMs: this.#options.bodyTimeoutMs }, clock);
      message = parseJsonRpc(text, { maxJsonDepth: host.maxJsonDepth });
    }
    const answer = await endpoint.handle(toWebRequest(request, gone), message, { principal, ...from });
    if (answer.kind === 'subscription') {
      this.#exchanges.becomeSubscription(exchange);
      expireAt(principal.expiresAt);
    }
    return answer;
  }

  #refuse(running: Running, request: IncomingMessage, error: unknown): Response {
    const { host } = running;
    if (!isRpcError(error)) host.onError(error instanceof Error ? error : new Error(String(error)));
    if (isRpcError(error) && (error.code === 'forbidden' || error.code === 'payload_too_large')) {
      this.#auditRefusal(running, clientAddress(request, this.#options.gate.trustedProxies), error.auditReason ?? error.message);
    }
    return refusalResponse(error);
  }

  #auditRefusal({ host, clock }: Running, remoteAddress: string | undefined, reason: string): void {
    host.audit({
      type: 'request.refused',
      time: clock.now(),
      outcome: 'denied',
      actor: '-',
      reason,
      transport: this.name,
      ...(remoteAddress === undefined ? {} : { remoteAddress }),
    });
  }

  #upgrade(running: Running, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '/').split('?', 1)[0];
    const upgrade = this.#options.upgrades.find((candidate) => candidate.path === path);
    let refusal: string | undefined;
    try {
      checkOneHost(request);
      this.#options.gate.check(clientAddress(request, this.#options.gate.trustedProxies));
      this.#guard.check(request.headers);
      if (upgrade === undefined) refusal = '404 Not Found';
      else if (this.#draining) refusal = '503 Service Unavailable';
    } catch (error) {
      this.#refuse(running, request, error);
      refusal = error instanceof HttpRefusal ? '400 Bad Request' : '403 Forbidden';
    }
    // The socket is the upgrade listener's from here on, and so is counting it.
    this.#uncount(socket, running.host);
    if (refusal === undefined) {
      upgrade?.handleUpgrade(request, socket, head);
      return;
    }
    socket.once('error', () => socket.destroy());
    socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  #count(socket: Duplex, host: ListenerHost): void {
    if (socket.destroyed) return;
    this.#counted.add(socket);
    host.connection(1);
    socket.once('close', () => this.#uncount(socket, host));
  }

  #uncount(socket: Duplex, host: ListenerHost): void {
    if (this.#counted.delete(socket)) host.connection(-1);
  }

  #urlOf(scheme: string, path: string): string | undefined {
    const address = this.#running?.server.address() as AddressInfo | null | undefined;
    if (address === undefined || address === null) return undefined;
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${scheme}://${host}:${address.port}${path}`;
  }
}

/** What exists while the listener listens. */
interface Running {
  readonly server: Server;
  readonly host: ListenerHost;
  readonly clock: Clock;
  readonly endpoint: McpEndpoint;
  /** Aborts when the listener is closed, whatever it was waiting for. */
  readonly cut: AbortController;
  readonly sockets: Set<Socket>;
  /** Ends the observation by the page of metrics. */
  stopMetrics?: (() => void) | undefined;
  /** Ends the watch over the certificate's files. */
  stopWatching?: () => void;
  /** Resolves when the port and every connection are closed. Set when closing has begun. */
  closed?: Promise<void>;
}

function closeServer(running: Running): Promise<void> {
  running.closed ??= closePort(running.server);
  return running.closed;
}

/** Closes the port, then the connections that are idle; resolves when all connections are closed. */
function closePort(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // HTTP's own close also cuts connections whose request has arrived and is not read yet. So the port
    // alone first, and the idle connections when what had arrived has been read.
    NetServer.prototype.close.call(server, () => resolve());
    setImmediate(() => setImmediate(() => server.close()));
  });
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Whether more of the body may come than is worth reading only to keep the connection. */
function isUnbounded(request: IncomingMessage, maxBytes: number): boolean {
  return !request.complete && !(Number(request.headers['content-length']) <= maxBytes);
}

/** Reads on a little: hanging up on a client that still sends would reset the connection under the response. */
async function discardRest(request: IncomingMessage, clock: Clock): Promise<void> {
  if (request.destroyed) return;
  const over = new Promise<void>((resolve) => request.once('end', resolve).once('close', resolve).resume());
  await settledWithin(over, LINGER_MS, clock);
}
