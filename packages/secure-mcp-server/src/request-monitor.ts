import {
  type Clock,
  type Events,
  isRpcError,
  type RpcContext,
  type RpcErrorCode,
  type RpcMiddleware,
  type RpcRequest,
} from '@mcp-blocks/core';
import { LatencyHistogram } from './latency-histogram.js';
import type { ServerEvents } from './server-events.js';
import { Throughput } from './throughput.js';

/** The failures that are the server's, not the caller's. */
const SERVER_FAULTS: ReadonlySet<RpcErrorCode> = new Set([
  'internal_error',
  'upstream_error',
  'timeout',
  'unavailable',
  'ambiguous_outcome',
]);

/** Counts what passes, tells when nothing runs any more, and reports failures whose details the caller does not get. */
export class RequestMonitor {
  totalRequests = 0;
  rateLimitHits = 0;
  errors = 0;
  inFlight = 0;
  readonly latency = new LatencyHistogram();
  readonly throughput: Throughput;
  readonly #clock: Clock;
  readonly #events: Events<ServerEvents>;
  readonly #onError: (error: Error) => void;
  #idleWaiters: (() => void)[] = [];

  constructor(clock: Clock, events: Events<ServerEvents>, onError: (error: Error) => void) {
    this.#clock = clock;
    this.throughput = new Throughput(clock);
    this.#events = events;
    this.#onError = onError;
  }

  readonly middleware: RpcMiddleware = (next) => async (request, context) => {
    const startedAt = this.#clock.now();
    this.totalRequests += 1;
    this.inFlight += 1;
    try {
      const result = await next(request, context);
      this.#emit(request, context, startedAt);
      return result;
    } catch (error) {
      this.#failed(request, context, startedAt, error);
      throw error;
    } finally {
      this.inFlight -= 1;
      if (this.inFlight === 0) this.#wake();
    }
  };

  /** Resolves when no request is in progress, at once if so. */
  idle(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #failed(request: RpcRequest, context: RpcContext, startedAt: number, error: unknown): void {
    const code = isRpcError(error) ? error.code : 'internal_error';
    if (SERVER_FAULTS.has(code)) this.errors += 1;
    if (!isRpcError(error)) this.#onError(error instanceof Error ? error : new Error(String(error)));
    if (code === 'rate_limited') {
      this.rateLimitHits += 1;
      this.#events.emit('rateLimited', { method: request.method, principal: context.principal.id, transport: context.transport });
    }
    this.#emit(request, context, startedAt, code);
  }

  #emit(request: RpcRequest, context: RpcContext, startedAt: number, errorCode?: string): void {
    const now = this.#clock.now();
    const durationMs = now - startedAt;
    this.latency.record(durationMs);
    this.throughput.record(now);
    if (this.#events.listenerCount('request') === 0) return;
    this.#events.emit('request', {
      method: request.method,
      principal: context.principal.id,
      transport: context.transport,
      durationMs,
      ...(errorCode === undefined ? {} : { errorCode }),
    });
  }

  #wake(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
