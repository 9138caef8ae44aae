import type { ServerEvents } from './server-events.js';

/** Counters since construction, and what is open now. */
export interface ServerMetrics {
  /** Milliseconds since the server was last started; 0 when it is not running. */
  readonly uptimeMs: number;
  /** Requests that reached the service or its middleware. */
  readonly totalRequests: number;
  /** Callers refused for their credentials, or for want of any. */
  readonly authFailures: number;
  /** Requests that failed with `rate_limited`. */
  readonly rateLimitHits: number;
  readonly activeConnections: number;
  /** Requests that failed by a fault of the server or what is behind it. */
  readonly errors: number;
  /** How long requests took, in milliseconds; each within a tenth of the truth, 0 before the first request. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number };
  /** Finished requests per second over the last minute. */
  readonly requestsPerSecond: number;
}

/** What shows metrics observes: a `SecureMCPServer`. */
export interface MetricsSource {
  metrics(): ServerMetrics;
  on<Name extends keyof ServerEvents>(name: Name, listener: (event: ServerEvents[Name]) => void): () => void;
}

/** Who asks for a page of metrics. */
export interface MetricsReader {
  /** The reader's address; absent when it came through a proxy that is not trusted. */
  readonly remoteAddress?: string;
  /** A header by lower-case name. */
  header(name: string): string | undefined;
}

/** A page of metrics that `http({ metrics })` serves: `prometheus()`, or one of your own. */
export interface MetricsPage {
  /** The URL path. */
  readonly path: string;
  /** Begins to observe a server; the returned function ends it. */
  observe(source: MetricsSource): () => void;
  /** Whether this reader may have the page. */
  admits(reader: MetricsReader): boolean;
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}
