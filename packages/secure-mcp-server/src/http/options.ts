import { ConfigurationError } from '@mcp-blocks/core';
import { type HttpUpgradeListener, TlsCertificate, type TlsOptions } from '@mcp-blocks/core/node';
import type { MetricsPage } from '../metrics-page.js';
import { integerOption, pathOption } from '../options.js';
import { type AddressOptions, ConnectionGate } from './connection-gate.js';
import type { ResolvedSessionOptions, SessionOptions } from './sessions.js';

/** Options of `http()`. */
export interface HttpOptions extends AddressOptions {
  /** TCP port; 0 takes a free one. */
  readonly port: number;
  /** Address to listen on. Default: `127.0.0.1`. */
  readonly host?: string;
  /** Path of the MCP endpoint. Default: `/mcp`. */
  readonly path?: string;
  /** Serves HTTPS. Default: plain HTTP. */
  readonly tls?: TlsOptions;
  /** Hostnames accepted in `Host`, without port. Default on a loopback address: its names; required on any other. */
  readonly allowedHosts?: readonly string[];
  /**
   * Hostnames accepted in `Origin`. When given, scripts of these origins may also read the answers (CORS).
   * Default: the loopback names on a loopback address, else none, and nobody by CORS.
   */
  readonly allowedOrigins?: readonly string[];
  /** Listeners that share the port and take upgrade requests on paths of their own, such as a WebSocket listener. */
  readonly upgrades?: readonly HttpUpgradeListener[];
  /** A page of metrics, such as `prometheus()`; it says itself who may read it. Default: none. */
  readonly metrics?: MetricsPage;
  /** Bounds of legacy sessions. */
  readonly sessions?: SessionOptions;
  /** Milliseconds for a request's headers to arrive. Default: 15 000. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds for a request's body to arrive. Default: 30 000. */
  readonly bodyTimeoutMs?: number;
  /** Milliseconds in which a client must take some of the rest of its answer, once that is finished, before it is cut. Default: 30 000. */
  readonly writeTimeoutMs?: number;
  /** Milliseconds an idle connection is kept. Default: 65 000, longer than the 60 s usual in load balancers. */
  readonly keepAliveTimeoutMs?: number;
  /**
   * Milliseconds between `/readyz` answering 503 and the port closing, when the server drains, so that
   * balancers look elsewhere first. Meanwhile requests are served, each asking its connection to close. Set
   * it above the time a balancer needs to notice; it counts towards the deadline. From 0 to 600 000. Default: 0.
   */
  readonly drainDelayMs?: number;
  /**
   * Most open event streams of one principal: `subscriptions/listen` in the modern era, GET in the legacy one.
   * Further ones are refused with 429. Default: 1000.
   */
  readonly maxSubscriptionsPerPrincipal?: number;
  /** Bytes that may wait for a client that does not read its stream before it is cut. Default: 16 777 216 (16 MiB). */
  readonly maxBufferedBytes?: number;
}

/** {@link HttpOptions} with every default filled in. */
export interface ResolvedHttpOptions
  extends Required<Omit<HttpOptions, 'tls' | 'allowedHosts' | 'allowedOrigins' | 'sessions' | 'metrics' | keyof AddressOptions>> {
  readonly metrics: MetricsPage | undefined;
  readonly gate: ConnectionGate;
  readonly tls: TlsCertificate | undefined;
  readonly sessions: ResolvedSessionOptions;
}

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;

/** @throws ConfigurationError for a value out of range. */
export function resolveHttpOptions(options: HttpOptions): ResolvedHttpOptions {
  const { sessions = {}, tls, upgrades = [] } = options;
  const path = pathOption('http.path', options.path, '/mcp');
  const paths = [
    path,
    '/healthz',
    '/readyz',
    ...(options.metrics === undefined ? [] : [options.metrics.path]),
    ...upgrades.map((upgrade) => upgrade.path),
  ];
  const twice = paths.find((candidate, index) => paths.indexOf(candidate) !== index);
  if (twice !== undefined) throw new ConfigurationError('http.path', `the path '${twice}' is used twice`);
  return {
    port: integerOption('http.port', options.port, { fallback: 0, min: 0, max: 65_535 }),
    host: options.host ?? '127.0.0.1',
    path,
    tls: tls && new TlsCertificate('http.tls', tls),
    upgrades,
    metrics: options.metrics,
    gate: new ConnectionGate(options),
    sessions: {
      store: sessions.store,
      maxSessionsPerPrincipal: integerOption('http.sessions.maxSessionsPerPrincipal', sessions.maxSessionsPerPrincipal, { fallback: 1000 }),
      maxEventsPerSession: integerOption('http.sessions.maxEventsPerSession', sessions.maxEventsPerSession, { fallback: 256, max: 10_000 }),
      idleTimeoutMs: integerOption('http.sessions.idleTimeoutMs', sessions.idleTimeoutMs, { fallback: 1_800_000, max: DAY_MS }),
      maxSessions: integerOption('http.sessions.maxSessions', sessions.maxSessions, { fallback: 10_000 }),
      replayBufferBytes: integerOption('http.sessions.replayBufferBytes', sessions.replayBufferBytes, {
        fallback: 16 * 1024 * 1024,
        min: 0,
        max: GIB,
      }),
    },
    headersTimeoutMs: integerOption('http.headersTimeoutMs', options.headersTimeoutMs, { fallback: 15_000, max: DAY_MS }),
    bodyTimeoutMs: integerOption('http.bodyTimeoutMs', options.bodyTimeoutMs, { fallback: 30_000, max: DAY_MS }),
    writeTimeoutMs: integerOption('http.writeTimeoutMs', options.writeTimeoutMs, { fallback: 30_000, max: DAY_MS }),
    keepAliveTimeoutMs: integerOption('http.keepAliveTimeoutMs', options.keepAliveTimeoutMs, { fallback: 65_000, max: DAY_MS }),
    drainDelayMs: integerOption('http.drainDelayMs', options.drainDelayMs, { fallback: 0, min: 0, max: 600_000 }),
    maxSubscriptionsPerPrincipal: integerOption('http.maxSubscriptionsPerPrincipal', options.maxSubscriptionsPerPrincipal, {
      fallback: 1000,
    }),
    maxBufferedBytes: integerOption('http.maxBufferedBytes', options.maxBufferedBytes, { fallback: 16 * 1024 * 1024, max: GIB }),
  };
}
