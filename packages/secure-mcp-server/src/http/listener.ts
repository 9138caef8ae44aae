import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
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
import { RequestGuard, refuseUntrusted, type TlsOptions } from '@mcp-blocks/core/node';
import type { Connection, LaneCall, ModernRequest } from '@mcp-blocks/core/sdk';
import { isJsonContentType } from '@modelcontextprotocol/server';
import { settledWithin } from '../deadline.js';
import { atTime } from '../expiry.js';
import type { MetricsSource } from '../metrics-page.js';
import { readBody } from './body.js';
import { callerOf } from './caller.js';
import { clientAddress } from './client-address.js';
import { type Closing, closeServer } from './closing.js';
import { documentResponse } from './documents.js';
import { type Exchange, Exchanges } from './exchanges.js';
import { healthResponse } from './health.js';
import { LaneResponse } from './lane-response.js';
import { type McpAnswer, McpEndpoint, shuttingDown } from './mcp-endpoint.js';
import { metricsResponse } from './metrics-response.js';
import { sendResponse, toWebRequest } from './node-web.js';
import { type HttpOptions, type ResolvedHttpOptions, resolveHttpOptions } from './options.js';
import { HttpRefusal, refusalResponse } from './refusal.js';
import { checkOneHost, serverOptions } from './server-options.js';
import { discardRest, isUnbounded, LINGER_MS } from './unread-body.js';
import { WebPolicy } from './web-policy.js';

const METHODS = ['POST', 'GET', 'DELETE'];

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
    const asked: Asked = { request, response, exchange, gone: new AbortController() };
    response.once('close', () => {
      if (response.writableFinished) return;
      const reason = new RpcError('cancelled', 'The client is gone');
      asked.gone.abort(reason);
      asked.call?.cancel(reason);
    });
    try {
      const reply = await this.#reply(running, asked).catch((error: unknown) => this.#refuse(running, request, error));
      if (reply !== undefined) await this.#send(running, asked, reply);
    } catch (error) {
      response.destroy();
      running.host.onError(error as Error);
    } finally {
      this.#exchanges.end(exchange);
      // A response that had begun before the drain could not ask its connection to close.
      if (running.closed !== undefined) running.server.closeIdleConnections();
    }
  }

  async #send(running: Running, { request, response, exchange }: Asked, reply: McpAnswer | Response): Promise<void> {
    const endStream = new AbortController();
    const answer = reply instanceof Response ? undefined : reply;
    const cancelExpiry = exchange.kind === 'subscription' ? atTime(running.clock, answer?.expiresAt, () => endStream.abort()) : () => {};
    const unread = isUnbounded(request, running.host.maxMessageBytes) || (reply instanceof Response && reply.status === 408);
    try {
      await sendResponse(response, answer?.response ?? (reply as Response), {
        close: this.#draining || unread,
        headers: this.#web.headers(request),
        maxBufferedBytes: this.#options.maxBufferedBytes,
        writeTimeoutMs: this.#options.writeTimeoutMs,
        endStream: endStream.signal,
        ...(unread ? { beforeEnd: discardRest(request, running.clock) } : {}),
      });
    } finally {
      cancelExpiry();
      answer?.release?.();
    }
  }

  /** `undefined`: the answer has been sent. */
  async #reply(running: Running, asked: Asked): Promise<McpAnswer | Response | undefined> {
    const { host, clock, endpoint } = running;
    const { request, exchange, gone } = asked;
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
    const caller = callerOf(request, this.name, remoteAddress);
    const principal = await host.authenticate(caller);
    let message: JsonRpcMessage | undefined;
    if (method === 'POST') {
      if (!isJsonContentType(request.headers['content-type'])) {
        throw new HttpRefusal(415, 'invalid_request', 'Content-Type: expected application/json');
      }
      const text = await readBody(request, { maxBytes: host.maxMessageBytes, timeoutMs: this.#options.bodyTimeoutMs }, clock);
      message = parseJsonRpc(text, { maxJsonDepth: host.maxJsonDepth });
    }
    const connection = { principal, transport: this.name, ...(remoteAddress === undefined ? {} : { remoteAddress }) };
    const modern = message && endpoint.admit(message, connection, request.headers);
    if (modern !== undefined) return this.#call(running, asked, modern, connection);
    const answer = await endpoint.handle(toWebRequest(request, gone.signal), message, connection);
    if (answer.kind !== 'subscription') return answer;
    this.#exchanges.becomeSubscription(exchange);
    return principal.expiresAt === undefined ? answer : { ...answer, expiresAt: principal.expiresAt };
  }

  async #call({ clock, endpoint }: Running, asked: Asked, modern: ModernRequest, from: Connection): Promise<Response | undefined> {
    const { request, response, gone } = asked;
    if (gone.signal.aborted) return undefined;
    const lane = new LaneResponse(response, {
      headers: () => this.#web.headers(request),
      isLast: () => this.#draining,
      maxBufferedBytes: this.#options.maxBufferedBytes,
      writeTimeoutMs: this.#options.writeTimeoutMs,
      clock,
    });
    const answer = await endpoint.call(modern, { ...from, addResponseHeader: lane.addHeader }, lane, (call) => {
      asked.call = call;
    });
    if (answer === undefined && !lane.hasBegun && !response.destroyed) return shuttingDown(modern.message.id);
    lane.end(answer);
    return undefined;
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

/** One request and what becomes of it. */
interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly exchange: Exchange;
  /** Aborts when the client is gone before it has its answer. */
  readonly gone: AbortController;
  /** The call on the fast lane, if it is one. */
  call?: LaneCall;
}

/** What exists while the listener listens. */
interface Running extends Closing {
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
}
