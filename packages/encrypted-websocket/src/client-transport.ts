import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { ConfigurationError, isRpcError, RpcError, type RpcErrorCode } from '@mcp-blocks/core';
import { type ClientOptions, WebSocket } from 'ws';
import { type BaseClientOptions, BaseClientTransport, type Dialling } from './base-client-transport.js';
import { CertificatePins } from './certificate-pins.js';
import { type DeflateOptions, deflateExtension } from './deflate.js';
import { NodeSocket } from './node-socket.js';
import { nodeCrypto } from './noise/node-crypto.js';
import { checkDelay } from './option-checks.js';
import { SESSION_HEADER, SESSION_ID } from './subprotocols.js';

/** TLS of the client's end. PEM text or bytes. The server's certificate is always verified. */
export interface ClientTlsOptions {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  /** The client's own certificate, where the server wants one, with its `key`. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /**
   * The server's own certificate must be one of these, besides being valid: `sha256/<base64>` of its public key
   * (RFC 7469) or the hexadecimal SHA-256 of all of it. Name the next one too before it is put to use.
   */
  readonly pins?: readonly string[];
}

/** Options of {@link WebSocketClientTransport}. */
export interface WebSocketClientOptions extends BaseClientOptions {
  /** Further handshake headers, such as `x-api-key`. Not those the handshake itself sets. With Noise they go into the channel. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly tls?: ClientTlsOptions;
  /** Offers to compress messages, and does if the server does too. Default: no. See README for when not to. */
  readonly deflate?: true | DeflateOptions;
  /** Milliseconds between pings. Default: 30,000. */
  readonly heartbeatIntervalMs?: number;
  /** A server silent for `heartbeatIntervalMs` and this long is gone. Default: 10,000. */
  readonly heartbeatTimeoutMs?: number;
}

/** Headers that are the handshake's own. */
const RESERVED_HEADER = /^(host|connection|upgrade|sec-websocket-.*)$/i;

const REFUSALS: Readonly<Record<number, RpcErrorCode>> = { 401: 'unauthenticated', 403: 'forbidden' };

/**
 * The client's end of MCP over WebSocket on Node: an SDK `Transport` for the `Client` of SDK v1 and v2, in both
 * eras. One instance is one connection; to reconnect, make another.
 *
 * `start` rejects with `RpcError` `unauthenticated` (HTTP 401), `forbidden` (403, or a certificate that is not
 * pinned: `data.reason` is `certificate_pin`) or `unavailable` (anything else, an unreachable server and a timeout
 * included); `data.httpStatus` is the status.
 */
export class WebSocketClientTransport extends BaseClientTransport {
  /**
   * @param url - `wss://…`, or `ws://…` on a loopback host.
   * @throws ConfigurationError for a URL that is neither, or holds a credential, and for a value out of range.
   */
  constructor(url: string | URL, options: WebSocketClientOptions = {}) {
    const { tls = {}, headers = {} } = options;
    for (const name of Object.keys(headers)) {
      if (RESERVED_HEADER.test(name)) throw new ConfigurationError(`headers.${name}`, 'is set by the handshake itself');
      if (name.toLowerCase() === 'authorization' && options.token !== undefined) {
        throw new ConfigurationError(`headers.${name}`, 'is set from the option token');
      }
    }
    const pins = tls.pins && new CertificatePins('tls.pins', tls.pins);
    if (pins !== undefined && !/^wss:/i.test(String(url))) throw new ConfigurationError('tls.pins', 'has an effect only with wss://');
    if (options.noise !== undefined && options.deflate !== undefined) {
      throw new ConfigurationError('deflate', 'has no effect with noise: what is encrypted does not compress');
    }
    const given: Given = { tls, pins, deflate: deflateExtension('client', options.deflate) };
    super(url, options, {
      dial: (dialling) => dial(dialling, given),
      crypto: nodeCrypto,
      headers,
      later: setImmediate,
      heartbeat: {
        intervalMs: checkDelay('heartbeatIntervalMs', options.heartbeatIntervalMs ?? 30_000),
        timeoutMs: checkDelay('heartbeatTimeoutMs', options.heartbeatTimeoutMs ?? 10_000),
      },
    });
  }
}

/** The checked options that only Node has. */
interface Given {
  readonly tls: ClientTlsOptions;
  readonly pins: CertificatePins | undefined;
  readonly deflate: ReturnType<typeof deflateExtension>;
}

function dial(dialling: Dialling, { tls, pins, deflate }: Given): () => void {
  const { url, protocol, token, headers, maxFrameBytes } = dialling;
  let network: Socket | undefined;
  let sessionId: string | undefined;
  const socket = new WebSocket(url, protocol, {
    perMessageDeflate: deflate,
    followRedirects: false,
    autoPong: false,
    maxPayload: maxFrameBytes,
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(url.protocol === 'wss:' ? tlsOptions(tls, pins) : {}),
  });
  socket.on('error', (cause) => {
    dialling.failed(isRpcError(cause) ? cause : new RpcError('unavailable', `No WebSocket connection to ${url.host}`, { cause }));
  });
  socket.on('unexpected-response', (_request, response) => dialling.failed(refusal(response)));
  socket.on('upgrade', (response) => {
    network = response.socket;
    sessionId = sessionIdOf(response);
  });
  socket.on('open', () => {
    socket.removeAllListeners();
    dialling.opened(new NodeSocket(socket, network), sessionId);
  });
  return () => socket.terminate();
}

function tlsOptions({ ca, cert, key }: ClientTlsOptions, pins: CertificatePins | undefined) {
  const options: ClientOptions = {
    // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED cannot undo it.
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca: ca as string[] }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    // Asked before anything of the request is written, which carries the credential.
    checkServerIdentity: ((hostname: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      checkServerIdentity(hostname, certificate) ?? pins?.check(certificate.raw)) as never,
  };
  return options;
}

function refusal(response: IncomingMessage): RpcError {
  const httpStatus = response.statusCode ?? 0;
  // Only the status is told: the body is a stranger's and could hold what was sent.
  return new RpcError(REFUSALS[httpStatus] ?? 'unavailable', `The server refused the WebSocket handshake with HTTP ${httpStatus}`, {
    data: { httpStatus },
  });
}

function sessionIdOf(response: IncomingMessage): string | undefined {
  const value = response.headers[SESSION_HEADER];
  return typeof value === 'string' && SESSION_ID.test(value) ? value : undefined;
}
