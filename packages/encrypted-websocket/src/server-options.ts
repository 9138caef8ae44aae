import { type Clock, ConfigurationError, systemClock } from '@mcp-blocks/core';
import { isLoopbackAddress, TlsCertificate, type TlsOptions } from '@mcp-blocks/core/node';
import { type DeflateOptions, deflateExtension } from './deflate.js';
import { checkDelay, checkInteger } from './option-checks.js';
import { type NoiseListenerOptions, noiseEndpoints } from './server-noise.js';

/** Options of {@link encryptedWebSocket}. */
export interface EncryptedWebSocketOptions {
  /** TCP port; 0 takes any free one. Default: 8444. Own port only. */
  readonly port?: number;
  /** Address to listen on. Default: `127.0.0.1`. Own port only. */
  readonly host?: string;
  /** The exact URL path. Default: `/ws`. */
  readonly path?: string;
  /** Makes it `wss`: certificate and key, whether clients are asked for theirs, and when the files are read again. Own port only. */
  readonly tls?: TlsOptions;
  /** Must be said to serve plain `ws` on an address that is not loopback. Own port only. */
  readonly allowInsecure?: true;
  /**
   * Hostnames accepted in `Host`. Default on a loopback address: the loopback names; required on any other.
   * Attached to another listener's port, that one checks; given here too, both do.
   */
  readonly allowedHosts?: readonly string[];
  /** Hostnames accepted in `Origin`, as `allowedHosts`. Default: the loopback names on a loopback address, else none. */
  readonly allowedOrigins?: readonly string[];
  /** Encrypts end to end inside the WebSocket, so that a proxy that ends TLS sees only ciphertext. Default: no. */
  readonly noise?: NoiseListenerOptions;
  /** Compresses messages for clients that offer to (permessage-deflate). Default: no. See README for when not to. */
  readonly deflate?: true | DeflateOptions;
  /** Milliseconds between pings. Default: 30,000. */
  readonly heartbeatIntervalMs?: number;
  /** A client silent for `heartbeatIntervalMs` and this long is gone (4408). Default: 10,000. */
  readonly heartbeatTimeoutMs?: number;
  /** Milliseconds from the upgrade request to the open connection, TLS handshake likewise. Default: 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** Most connections at a time, those in the handshake included; further ones get 503. Default: 10,000. */
  readonly maxConnections?: number;
  /**
   * Most clients at a time that have not said who they are; one more, and the oldest of them is cut. On an own
   * port, sockets that have not sent a request yet are bounded likewise. Default: 1,000.
   */
  readonly maxHandshakes?: number;
  /** Unread bytes per connection at which the server stops reading from it. Default: 1 MiB. */
  readonly maxBufferedBytes?: number;
  /** A connection above `maxBufferedBytes` for this long is closed (4413). Default: 30,000. */
  readonly slowReaderTimeoutMs?: number;
  /** Default: the server's own clock, else the machine's. */
  readonly clock?: Clock;
  /** Makes the ids of connections. Default: `crypto.randomUUID`. */
  readonly newSessionId?: () => string;
}

/** Options that only make sense where the listener opens the port itself. */
export const OWN_PORT_OPTIONS = ['port', 'host', 'tls', 'allowInsecure'] as const;

/** Options with every default filled in. */
export type ResolvedOptions = ReturnType<typeof resolveOptions>;

/** @throws ConfigurationError for a value out of its range, or plain `ws` on a public address. */
export function resolveOptions(options: EncryptedWebSocketOptions) {
  const host = options.host ?? '127.0.0.1';
  const path = options.path ?? '/ws';
  if (!path.startsWith('/') || /[?#\s]/.test(path)) {
    throw new ConfigurationError('path', `expected a URL path such as '/ws', got '${path}'`);
  }
  if (options.tls === undefined && options.allowInsecure !== true && !isLoopbackAddress(host)) {
    throw new ConfigurationError('tls', `required when listening on ${host}; plain ws there must be asked for with allowInsecure: true`);
  }
  // Looked at now, so that a mistake shows at start-up; made again with the limits of the server.
  noiseEndpoints(options.noise, systemClock, 1);
  return {
    port: checkInteger('port', options.port ?? 8444, { min: 0, max: 65_535 }),
    host,
    path,
    tls: options.tls && new TlsCertificate('tls', options.tls),
    deflate: deflateExtension('server', options.deflate),
    heartbeat: {
      intervalMs: checkDelay('heartbeatIntervalMs', options.heartbeatIntervalMs ?? 30_000),
      timeoutMs: checkDelay('heartbeatTimeoutMs', options.heartbeatTimeoutMs ?? 10_000),
    },
    handshakeTimeoutMs: checkDelay('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000),
    maxConnections: checkInteger('maxConnections', options.maxConnections ?? 10_000, { min: 1 }),
    maxHandshakes: checkInteger('maxHandshakes', options.maxHandshakes ?? 1_000, { min: 1 }),
    noise: options.noise,
    maxBufferedBytes: checkInteger('maxBufferedBytes', options.maxBufferedBytes ?? 1_048_576, { min: 1 }),
    slowReaderTimeoutMs: checkDelay('slowReaderTimeoutMs', options.slowReaderTimeoutMs ?? 30_000),
    newSessionId: options.newSessionId ?? (() => crypto.randomUUID()),
  };
}
