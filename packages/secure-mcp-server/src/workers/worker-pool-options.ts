import { availableParallelism } from 'node:os';
import { type Clock, ConfigurationError, systemClock } from '@mcp-blocks/core';
import { integerOption } from '../options.js';
import type { PrometheusOptions } from '../prometheus.js';

/** How workers that end are replaced. */
export interface WorkerRestartOptions {
  /** Milliseconds before a worker that ended is started again, 1 to 60 000; doubles each time it ends soon again. Default: 100. */
  readonly initialDelayMs?: number;
  /** The longest of these pauses, up to an hour. Default: 30 000. */
  readonly maxDelayMs?: number;
  /** A worker that has served for so long does not end soon; up to a day. Default: 10 000. */
  readonly stableAfterMs?: number;
}

/** Where the pool tells how it is. */
export interface PoolStatusOptions {
  /** Its own TCP port, not the workers'; 0 takes a free one. */
  readonly port: number;
  /** Default: `127.0.0.1`. */
  readonly host?: string;
  /** Serves what all workers counted, for Prometheus; needs the package `prom-client`. Default: no page. */
  readonly metrics?: Pick<PrometheusOptions, 'path' | 'allow' | 'token'>;
}

/** Options of {@link WorkerPool}. */
export interface WorkerPoolOptions {
  /** URL of the module whose default export, a {@link WorkerModule}, makes a worker's server. */
  readonly module: URL | string;
  /** How many workers, 1 to 1024. Default: as many as there are cores. */
  readonly count?: number;
  /** Milliseconds for a worker to serve before it is killed, up to an hour. Default: 30 000. */
  readonly startTimeoutMs?: number;
  /** Milliseconds for a worker's requests to finish when it is replaced, or the pool closes; up to an hour. Default: 30 000. */
  readonly drainTimeoutMs?: number;
  readonly restart?: WorkerRestartOptions;
  /** Environment variables of the workers, beside the pool's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** `/healthz`, `/readyz` and metrics of the whole. Default: none. */
  readonly status?: PoolStatusOptions;
  readonly clock?: Clock;
  /** Told of workers that end unasked. Default: one line on stderr. */
  readonly onError?: (error: Error) => void;
}

/** {@link WorkerPoolOptions} with every default filled in. */
export interface ResolvedPoolOptions extends Required<Omit<WorkerPoolOptions, 'module' | 'status' | 'restart'>> {
  readonly module: string;
  readonly status: PoolStatusOptions | undefined;
  readonly restart: Required<WorkerRestartOptions>;
}

const HOUR_MS = 3_600_000;

/** @throws ConfigurationError for a value out of range. */
export function resolvePoolOptions(options: WorkerPoolOptions): ResolvedPoolOptions {
  const { restart = {}, status } = options;
  const initialDelayMs = integerOption('restart.initialDelayMs', restart.initialDelayMs, { fallback: 100, max: 60_000 });
  const maxDelayMs = integerOption('restart.maxDelayMs', restart.maxDelayMs, { fallback: Math.max(30_000, initialDelayMs), max: HOUR_MS });
  if (maxDelayMs < initialDelayMs) {
    throw new ConfigurationError('restart.maxDelayMs', `expected at least initialDelayMs, ${initialDelayMs}, got ${maxDelayMs}`);
  }
  return {
    module: moduleUrl(options.module),
    count: integerOption('count', options.count, { fallback: availableParallelism(), max: 1024 }),
    startTimeoutMs: integerOption('startTimeoutMs', options.startTimeoutMs, { fallback: 30_000, max: HOUR_MS }),
    drainTimeoutMs: integerOption('drainTimeoutMs', options.drainTimeoutMs, { fallback: 30_000, min: 0, max: HOUR_MS }),
    restart: {
      initialDelayMs,
      maxDelayMs,
      stableAfterMs: integerOption('restart.stableAfterMs', restart.stableAfterMs, { fallback: 10_000, max: 86_400_000 }),
    },
    environment: options.environment ?? {},
    status: status && {
      ...status,
      port: integerOption('status.port', status.port, { fallback: 0, min: 0, max: 65_535 }),
    },
    clock: options.clock ?? systemClock,
    onError: options.onError ?? ((error) => process.stderr.write(`${error.message}\n`)),
  };
}

function moduleUrl(module: URL | string): string {
  try {
    return new URL(module).href;
  } catch {
    throw new ConfigurationError('module', `expected a URL such as new URL('./server.js', import.meta.url), got '${String(module)}'`);
  }
}
