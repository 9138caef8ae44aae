import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { type Clock, isRpcError, RpcError } from '@mcp-blocks/core';
import { CertificatePins } from '../certificate-pins.js';

/** TLS of the bridge's end. PEM. */
export interface BridgeTls {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** As `tls.pins` of `WebSocketClientTransport`. */
  readonly pins?: readonly string[];
}

/** Options of {@link HttpChannel}. */
export interface HttpChannelOptions {
  readonly url: URL;
  readonly tls: BridgeTls;
  /** Asked for every request, so that a renewed credential takes effect. */
  credentials(): Promise<Record<string, string>>;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
}

/** No response came. */
export class HttpFailure extends Error {
  /** Whether the request may have reached the server. */
  readonly sent: boolean;

  constructor(sent: boolean, cause: unknown) {
    super(sent ? 'The connection broke before the response' : 'No connection', { cause });
    this.sent = sent;
  }
}

/** How often the kernel asks whether an idle peer is alive. */
const KEEP_ALIVE_MS = 15_000;

/** HTTP requests to one URL over kept-alive connections. Redirects are not followed. */
export class HttpChannel {
  readonly #options: HttpChannelOptions;
  readonly #secure: boolean;
  readonly #pins: CertificatePins | undefined;
  readonly #agent: http.Agent;

  /** @throws ConfigurationError for a pin that is none. */
  constructor(options: HttpChannelOptions) {
    this.#options = options;
    this.#secure = options.url.protocol === 'https:';
    this.#pins = options.tls.pins && new CertificatePins('--pin', options.tls.pins);
    this.#agent = this.#secure ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
    // The request, which carries the credential, is written once the server has been verified and not before.
    this.#agent.createConnection = (_options, done) => {
      this.#dial().then(
        (socket) => done?.(null, socket),
        (error: Error) => done?.(error, undefined as never),
      );
      return undefined;
    };
  }

  /**
   * Sends one request and resolves with the head of its response.
   *
   * @throws HttpFailure where there is none; RpcError `unauthenticated` where no credential could be had,
   * `forbidden` for a certificate that is not pinned.
   */
  async request(method: string, headers: Record<string, string>, body: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
    const { url, credentials } = this.#options;
    const options = { agent: this.#agent, method, headers: { ...headers, ...(await credentials()) }, signal };
    return new Promise((resolve, reject) => {
      let sent = false;
      const outgoing = this.#secure ? https.request(url, options) : http.request(url, options);
      outgoing.on('socket', () => {
        sent = true;
      });
      outgoing.on('response', (response) => {
        // Whoever reads is told of an error by the reading; nobody may be when it comes.
        response.on('error', () => {});
        resolve(response);
      });
      outgoing.on('error', (cause) => reject(isRpcError(cause) ? cause : new HttpFailure(sent, cause)));
      outgoing.end(body);
    });
  }

  /** Connects, TLS handshake included, and hangs up. @throws RpcError `unavailable`, `forbidden`. */
  async probe(): Promise<void> {
    try {
      (await this.#dial()).destroy();
    } catch (cause) {
      throw isRpcError(cause) ? cause : new RpcError('unavailable', `No connection to ${this.#options.url.host}`, { cause });
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #dial(): Promise<Socket> {
    const { url, connectTimeoutMs, clock } = this.#options;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port || (this.#secure ? 443 : 80));
    return new Promise((resolve, reject) => {
      const socket = this.#secure ? tls.connect({ host, port, ...this.#tls(host) }) : net.connect({ host, port });
      const cancelTimeout = clock.setTimeout(() => socket.destroy(new Error('connecting took too long')), connectTimeoutMs);
      const fail = (error: Error) => {
        cancelTimeout();
        reject(error);
      };
      // For as long as it lives: between two requests nobody else may be listening.
      socket.on('error', fail);
      socket.once(this.#secure ? 'secureConnect' : 'connect', () => {
        cancelTimeout();
        socket.setKeepAlive(true, KEEP_ALIVE_MS);
        resolve(socket);
      });
    });
  }

  #tls(host: string): tls.ConnectionOptions {
    const { pins: _, ...credentials } = this.#options.tls;
    return {
      ...credentials,
      servername: net.isIP(host) === 0 ? host : '',
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED cannot undo it.
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate) ?? this.#pins?.check(certificate.raw),
    };
  }
}

/**
 * The whole body as text.
 *
 * @throws RpcError `payload_too_large`, `upstream_error` for what is not UTF-8; HttpFailure when it breaks off.
 */
export async function readText(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw new RpcError('payload_too_large', `The server sent an answer larger than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof RpcError ? error : new HttpFailure(true, error);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new RpcError('upstream_error', 'The server sent an answer that is not UTF-8', { cause });
  }
}
