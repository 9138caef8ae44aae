import type { ServerMetrics } from '../metrics-page.js';

const TAG = 'mcp-blocks.workers';

/** What a worker is told when it is started, by the environment. */
export interface WorkerOrders {
  /** URL of the module that makes the server. */
  readonly module: string;
  readonly index: number;
  readonly count: number;
  /** Whether metrics for Prometheus are collected. */
  readonly prometheus: boolean;
}

/** The environment variable that holds them, as JSON. */
export const ORDERS_VARIABLE = 'MCP_BLOCKS_WORKER';

/** One metric as prom-client gives it out. */
export interface PrometheusMetric {
  readonly name: string;
  readonly type: string;
}

/** What a worker knows of itself. */
export interface WorkerFigures {
  readonly server: ServerMetrics;
  readonly prometheus: readonly PrometheusMetric[];
}

/** From the pool to a worker. */
export type Order = { readonly do: 'drain'; readonly deadlineMs: number } | { readonly do: 'report'; readonly id: number };

/** From a worker to the pool. */
export type Word =
  | { readonly kind: 'serving'; readonly endpoints: readonly string[] }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'report'; readonly id: number; readonly figures: WorkerFigures }
  /** The last one: it has served everything and ends. */
  | { readonly kind: 'drained'; readonly figures: WorkerFigures };

/** Other code may send messages over the same channel; these are told apart by a tag. */
export function tagged<Message extends Order | Word>(message: Message): Message & { readonly tag: string } {
  return { ...message, tag: TAG };
}

export function isTagged<Message extends Order | Word>(message: unknown): message is Message {
  return typeof message === 'object' && message !== null && 'tag' in message && message.tag === TAG;
}
