import { type Clock, type JsonObject, RpcError } from '@mcp-blocks/core';
import { type Answer, type Connection, ConnectionLostError } from './connection.js';
import { Deferred } from './deferred.js';
import { PriorityQueue, type QueueEntry } from './priority-queue.js';
import { MAX_DELIVERIES } from './retry-policy.js';

/** One request to be sent when its turn comes. */
export interface ScheduledRequest {
  readonly method: string;
  readonly params: JsonObject;
  readonly priority: number;
  /** Counted from now, waiting included. Absent: whoever waits keeps the time. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: JsonObject) => void) | undefined;
}

/** Where the scheduler's requests go. */
export interface Route {
  /** The connection to use now; `undefined`: wait. */
  connection(): Connection | undefined;
  /** Why waiting is in vain, if it is. */
  refusal(): RpcError | undefined;
  lost(connection: Connection, error: Error): void;
  /** Gets new credentials and a connection with them; false when there are none to get. */
  renew(connection: Connection): boolean;
  /** Whether a request may be sent again when nobody knows if it was carried out. */
  mayRepeat(method: string, params: JsonObject): boolean;
  /** A request was answered this long after it was sent. */
  answered(roundTripMs: number): void;
}

/** Options of {@link RequestScheduler}. */
export interface RequestSchedulerOptions {
  readonly maxConcurrent: number;
  readonly queueLimit: number;
  readonly clock: Clock;
  readonly route: Route;
}

interface Job {
  readonly request: ScheduledRequest;
  readonly abort: AbortController;
  settle(outcome: { answer: Answer } | { error: Error }): void;
  settled: boolean;
  entry: QueueEntry<Job> | undefined;
  /** How often it was sent and may have arrived. */
  deliveries: number;
  renewed: boolean;
}

/** Sends requests over whatever connection there is: by priority, so many at a time, again where that is safe. */
export class RequestScheduler {
  readonly #options: RequestSchedulerOptions;
  readonly #queue = new PriorityQueue<Job>();
  readonly #jobs = new Set<Job>();
  #active = 0;

  constructor(options: RequestSchedulerOptions) {
    this.#options = options;
  }

  get queued(): number {
    return this.#queue.size;
  }

  get active(): number {
    return this.#active;
  }

  /**
   * @throws RpcError `unavailable` when the queue is full or there is no connection to wait for, `timeout`,
   * `cancelled`, `ambiguous_outcome` when the connection was lost and the request may not be repeated; or
   * the server's error.
   */
  submit(request: ScheduledRequest): Promise<Answer> {
    const { promise, resolve, reject } = new Deferred<Answer>();
    const refusal = this.#refusalFor(request);
    if (refusal !== undefined) {
      reject(refusal);
      return promise;
    }
    const { signal, timeoutMs } = request;
    const abort = new AbortController();
    const settle: Job['settle'] = (outcome) => {
      if (job.settled) return;
      job.settled = true;
      this.#jobs.delete(job);
      if (job.entry !== undefined) this.#queue.remove(job.entry);
      cancelTimer();
      signal?.removeEventListener('abort', onAbort);
      if ('answer' in outcome) return resolve(outcome.answer);
      reject(outcome.error);
      abort.abort(outcome.error);
    };
    const job: Job = { request, abort, settle, settled: false, entry: undefined, deliveries: 0, renewed: false };
    const onAbort = () => settle({ error: new RpcError('cancelled', `${request.method} was cancelled`, { cause: signal?.reason }) });
    signal?.addEventListener('abort', onAbort, { once: true });
    const onTimeout = () => {
      const where = job.entry === undefined ? 'No answer to' : 'No connection or no turn for';
      settle({ error: new RpcError('timeout', `${where} ${request.method} within ${timeoutMs} ms`, { data: { timeoutMs } }) });
    };
    const cancelTimer = timeoutMs === undefined ? () => {} : this.#options.clock.setTimeout(onTimeout, timeoutMs);
    this.#jobs.add(job);
    job.entry = this.#queue.push(job, request.priority);
    this.pump();
    return promise;
  }

  /** Sends what can be sent now; fails what waits in vain. Call it whenever the route has changed. */
  pump(): void {
    const { maxConcurrent, route } = this.#options;
    const refusal = this.#queue.size > 0 ? route.refusal() : undefined;
    while (this.#queue.size > 0) {
      const connection = route.connection();
      if (refusal === undefined && (connection === undefined || this.#active >= maxConcurrent)) return;
      const entry = this.#queue.pop() as QueueEntry<Job>;
      const job = entry.value;
      job.entry = undefined;
      if (refusal !== undefined) job.settle({ error: refusal });
      else void this.#send(job, entry, connection as Connection);
    }
  }

  /** Fails everything queued or in progress. */
  failAll(error: Error): void {
    for (const job of [...this.#jobs]) job.settle({ error });
  }

  #refusalFor({ method, signal }: ScheduledRequest): RpcError | undefined {
    const { queueLimit, maxConcurrent, route } = this.#options;
    if (signal?.aborted) return new RpcError('cancelled', `${method} was cancelled`, { cause: signal.reason });
    const mustWait = route.connection() === undefined || this.#active >= maxConcurrent;
    if (mustWait && this.#queue.size >= queueLimit) {
      return new RpcError('unavailable', `The request queue is full (queueLimit ${queueLimit})`, { data: { queueLimit } });
    }
    return undefined;
  }

  async #send(job: Job, { priority, order }: QueueEntry<Job>, connection: Connection): Promise<void> {
    const { clock, route } = this.#options;
    const { method, params, onProgress } = job.request;
    const sentAt = clock.now();
    this.#active += 1;
    try {
      const answer = await connection.request(method, params, { signal: job.abort.signal, onProgress });
      route.answered(clock.now() - sentAt);
      job.settle({ answer });
    } catch (error) {
      const failure = job.settled ? undefined : this.#failureOf(job, connection, error as Error);
      if (failure !== undefined) job.settle({ error: failure });
      else if (!job.settled) job.entry = this.#queue.push(job, priority, order);
    } finally {
      this.#active -= 1;
      this.pump();
    }
  }

  /** The error to fail the request with; `undefined` when it is to be sent again. */
  #failureOf(job: Job, connection: Connection, error: Error): Error | undefined {
    const { route } = this.#options;
    const { method, params } = job.request;
    if (error instanceof ConnectionLostError) {
      route.lost(connection, error);
      if (error.maybeDelivered && !route.mayRepeat(method, params)) {
        return new RpcError(
          'ambiguous_outcome',
          `The connection was lost after ${method} had been sent: it may or may not have been carried out`,
          {
            cause: error,
          },
        );
      }
      if (error.maybeDelivered) job.deliveries += 1;
      if (job.deliveries < MAX_DELIVERIES) return undefined;
      return new RpcError('unavailable', `${method} lost its connection ${job.deliveries} times`, { cause: error });
    }
    // Refused before it was carried out, so any method may be sent again.
    if (error instanceof RpcError && error.code === 'unauthenticated' && !job.renewed && route.renew(connection)) {
      job.renewed = true;
      return undefined;
    }
    return error;
  }
}
