import { createHash, timingSafeEqual } from 'node:crypto';
import { ConfigurationError, methodLabel, TELEMETRY } from '@mcp-blocks/core';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { AddressList } from './address-list.js';
import type { MetricsPage, MetricsReader, MetricsSource } from './metrics-page.js';
import { pathOption } from './options.js';

/** Options of {@link prometheus}. */
export interface PrometheusOptions {
  /** The URL path. Default: `/metrics`. */
  readonly path?: string;
  /** Addresses and networks that may read the page. Default: `127.0.0.0/8` and `::1`, or nobody by address when `token` is given. */
  readonly allow?: readonly string[];
  /** Also lets in who presents `Authorization: Bearer <token>`; at least 16 characters. Default: no token. */
  readonly token?: string;
  /** Where the metrics are registered, beside your own. Default: a registry of its own, with prom-client's process metrics. */
  readonly registry?: Registry;
}

/**
 * A page of metrics in the text format of Prometheus, for `http({ metrics })`. Needs the package `prom-client`.
 *
 * No label has values that callers choose freely: methods that MCP does not have count as `_OTHER`, and
 * neither principals nor tools are labels.
 *
 * @throws ConfigurationError for a path that is none, an address that is none, a token that is too short.
 */
export function prometheus(options: PrometheusOptions = {}): MetricsPage {
  const path = pathOption('prometheus.path', options.path, '/metrics');
  const token = options.token === undefined ? undefined : sha256(options.token);
  if (options.token !== undefined && options.token.length < 16) {
    throw new ConfigurationError('prometheus.token', 'expected at least 16 characters');
  }
  const allow = new AddressList('prometheus.allow', options.allow ?? (token === undefined ? ['127.0.0.0/8', '::1'] : []));
  const registry = options.registry ?? new Registry();
  if (options.registry === undefined) collectDefaultMetrics({ register: registry });
  const observers = instruments(registry);
  return {
    path,
    observe: observers,
    admits: (reader) => allow.has(reader.remoteAddress) || (token !== undefined && presents(reader, token)),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}

function instruments(registry: Registry): (source: MetricsSource) => () => void {
  const registers = [registry];
  const sources = new Set<MetricsSource>();
  const sum = (read: (source: MetricsSource) => number) => [...sources].reduce((total, source) => total + read(source), 0);
  const requests = new Counter({
    name: 'mcp_server_requests_total',
    help: 'Requests that reached the service, by method, transport and outcome (ok or the code of the error).',
    labelNames: ['method', 'transport', 'outcome'] as const,
    registers,
  });
  const duration = new Histogram({
    name: 'mcp_server_request_duration_seconds',
    help: 'How long requests took, by method.',
    labelNames: ['method'] as const,
    buckets: [...TELEMETRY.durationBuckets],
    registers,
  });
  const authFailures = new Counter({
    name: 'mcp_server_auth_failures_total',
    help: 'Callers refused for their credentials, or for want of any, by transport.',
    labelNames: ['transport'] as const,
    registers,
  });
  const rateLimited = new Counter({
    name: 'mcp_server_rate_limited_total',
    help: 'Requests refused by a rate limit, by transport.',
    labelNames: ['transport'] as const,
    registers,
  });
  new Counter({
    name: 'mcp_server_errors_total',
    help: 'Requests that failed by a fault of the server or what is behind it.',
    registers,
    collect() {
      this.reset();
      this.inc(sum((source) => source.metrics().errors));
    },
  });
  new Gauge({
    name: 'mcp_server_active_connections',
    help: 'Connections open at the moment.',
    registers,
    collect() {
      this.set(sum((source) => source.metrics().activeConnections));
    },
  });
  new Gauge({
    name: 'mcp_server_uptime_seconds',
    help: 'Seconds since the server was last started.',
    registers,
    // Of several workers: the longest.
    aggregator: 'max',
    collect() {
      this.set(Math.max(0, ...[...sources].map((source) => source.metrics().uptimeMs)) / 1000);
    },
  });
  return (source) => {
    sources.add(source);
    const stops = [
      source.on('request', ({ method, transport, durationMs, errorCode }) => {
        const label = methodLabel(method);
        requests.inc({ method: label, transport, outcome: errorCode ?? 'ok' });
        duration.observe({ method: label }, durationMs / 1000);
      }),
      source.on('authFailure', ({ transport }) => authFailures.inc({ transport })),
      source.on('rateLimited', ({ transport }) => rateLimited.inc({ transport })),
    ];
    return () => {
      sources.delete(source);
      for (const stop of stops) stop();
    };
  };
}

function presents(reader: MetricsReader, token: Buffer): boolean {
  const presented = /^bearer +(\S+) *$/i.exec(reader.header('authorization') ?? '')?.[1];
  return presented !== undefined && timingSafeEqual(sha256(presented), token);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
