import { integerOption } from './options.js';

/** Bounds a server puts on its callers. */
export interface ServerLimits {
  /** Milliseconds a request may run, time spent waiting for the client's answers not counted. Default: 60 000. */
  readonly requestTimeoutMs?: number;
  /** Largest message accepted, in bytes. Default: 4 194 304 (4 MiB). */
  readonly maxMessageBytes?: number;
  /** Deepest nesting of a message. Default: 64. */
  readonly maxJsonDepth?: number;
  /** Most requests of one long-lived connection in progress at a time; reading pauses at the bound. Default: 64. */
  readonly maxInFlight?: number;
  /** Most connections of all listeners together; further ones are closed at once. Default: 10 000. */
  readonly maxConnections?: number;
}

const DAY_MS = 86_400_000;

/** Fills in defaults. @throws ConfigurationError for a value out of range. */
export function resolveLimits(limits: ServerLimits = {}): Required<ServerLimits> {
  return {
    requestTimeoutMs: integerOption('limits.requestTimeoutMs', limits.requestTimeoutMs, { fallback: 60_000, max: DAY_MS }),
    maxMessageBytes: integerOption('limits.maxMessageBytes', limits.maxMessageBytes, { fallback: 4 * 1024 * 1024, max: 1024 ** 3 }),
    maxJsonDepth: integerOption('limits.maxJsonDepth', limits.maxJsonDepth, { fallback: 64, max: 1024 }),
    maxInFlight: integerOption('limits.maxInFlight', limits.maxInFlight, { fallback: 64 }),
    maxConnections: integerOption('limits.maxConnections', limits.maxConnections, { fallback: 10_000 }),
  };
}
