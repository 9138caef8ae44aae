import type { ServerMetrics } from '../metrics-page.js';

/** Where a worker is in its life. */
export type WorkerState = 'starting' | 'serving' | 'draining';

/** A worker's process. */
export interface WorkerReport {
  readonly index: number;
  readonly pid: number;
  readonly state: WorkerState;
  /** What it counted; absent while it starts, and when it does not answer. */
  readonly metrics?: ServerMetrics;
}

/** A worker's process that has ended. */
export interface WorkerExit {
  readonly index: number;
  readonly pid: number;
  readonly code: number | null;
  readonly signal: string | null;
  /** Whether the pool had asked it to. */
  readonly expected: boolean;
}

/** What a `WorkerPool` tells, by event name. */
export interface WorkerPoolEvents {
  readonly workerServing: { readonly index: number; readonly pid: number };
  readonly workerExit: WorkerExit;
  /** A worker ended unasked, did not start, or had to be killed. */
  readonly error: Error;
}
