import { type CancelTimer, type Clock, isJsonObject, isRpcError, type JsonObject, META, RpcError } from '@mcp-blocks/core';
import { AmbiguousOutcomeError, type AmbiguousReason } from './ambiguous-outcome-error.js';
import { type Answer, type Connection, ConnectionLostError } from './connection.js';
import { Deferred } from './deferred.js';
import { PriorityQueue, type QueueEntry } from './priority-queue.js';
import type { RetryPolicy } from './retry-policy.js';
import { Timeout } from './timeout.js';

/** One request to be sent when its turn comes. */
export interface ScheduledRequest {
  readonly method: string;
  readonly params: JsonObject;
  readonly priority: number;
  readonly fairnessKey: string;
  /** Counted from now, waiting included. Absent: whoever waits keeps the time. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: JsonObject) => void) | undefined;
  /** Told when the server begins to wait for an input handler, and when it has been answered. */
  readonly onInput?: ((isWaiting: boolean) => void) | undefined;
  /** Whether it may be carried out twice, where the caller knows. */
  readonly repeatable?: boolean | undefined;
}

/** An answer, and who gave it. */
export interface Delivery {
  readonly answer: Answer;
  readonly connection: Connection;
}

/** A request is sent again. */
export interface Retry {
  readonly method: string;
  /** How often it has been sent so far. */
  readonly attempt: number;
  /** Milliseconds until it is queued again. */
  readonly delayMs: number;
  readonly reason: Error;
}

/** Where the scheduler's requests go. */
export interface Route {
  /** The connection to use now; `undefined`: wait. */
  connection(): Connection | undefined;
  /** Why waiting is in vain, if it is. */
  refusal(): RpcError | undefined;
  lost(connection: Connection, error: Error): void;
  /** Gets new credentials and a connection with them; false when there are none to get. */
  renew(connection: Connection, why: RpcError): boolean;
  /** Gets credentials that may do what these may not, and a connection with them; false when there are none to get. */
  widen(connection: Connection, why: RpcError): Promise<boolean>;
  /** Whether a request may be sent again when nobody knows if it was carried out. */
  mayRepeat(method: string, params: JsonObject): boolean;
  /** Something was sent; the server owes an answer. */
  sent(): void;
  /** The server has answered; with a result, this long after the request was sent. */
  answered(roundTripMs?: number): void;
  /** The shortest time in which an answer can be expected, in milliseconds. */
  fastestAnswerMs(): number;
  retried(retry: Retry): void;
  ambiguous(error: AmbiguousOutcomeError): void;
  queueFull(method: string): void;
}

/** Options of {@link RequestScheduler}. */
export interface RequestSchedulerOptions {
  readonly maxConcurrent: number;
  readonly queueLimit: number;
  readonly ageingMs: number;
  readonly clock: Clock;
  readonly retries: RetryPolicy;
  readonly route: Route;
}

interface Job {
  readonly request: ScheduledRequest;
  entry: QueueEntry<Job> | undefined;
  /** Absent: whoever waits keeps the time. */
  timeout: Timeout | undefined;
  /** Ends the sending, once it is sent. */
  abort: AbortController | undefined;
  settle(outcome: Delivery | { error: Error }): void;
  state: 'queued' | 'sent' | 'pausing' | 'settled';
  /** Ends the pause before a retry. */
  cancelPause: CancelTimer;
  /** How often it was sent, and how often it may have arrived. */
  attempts: number;
  deliveries: number;
  renewed: boolean;
  /** How often its credentials were found to lack a scope. */
  widened: number;
}

/** A request waits for further scopes at most so often (MCP 2026-07-28, basic/authorization, "Step-Up Authorization Flow"). */
const MAX_WIDENED = 2;

/** Sends requests over whatever connection there is: by priority, so many at a time, again where that is safe. */
export class RequestScheduler {
  readonly #options: RequestSchedulerOptions;
  readonly #queue: PriorityQueue<Job>;
  readonly #jobs = new Set<Job>();
  #active = 0;
  #pausing = 0;

  constructor(options: RequestSchedulerOptions) {
    this.#options = options;
    this.#queue = new PriorityQueue(options.ageingMs, () => options.clock.now());
  }

  /** Those that wait for their turn, for a connection, or for the time to be sent again. */
  get queued(): number {
    return this.#queue.size + this.#pausing;
  }

  get active(): number {
    return this.#active;
  }

  /**
   * @throws RpcError `unavailable` when the queue is full or there is no connection to wait for, `timeout`,
   * `cancelled`; AmbiguousOutcomeError when it was sent, no answer came and it may not be repeated; or the
   * server's error.
   */
  submit(request: ScheduledRequest): Promise<Delivery> {
    const { promise, resolve, reject } = new Deferred<Delivery>();
    const refusal = this.#refusalFor(request);
    if (refusal !== undefined) {
      reject(refusal);
      return promise;
    }
    const { clock, retries } = this.#options;
    const { method, signal, timeoutMs } = request;
    const settle: Job['settle'] = (outcome) => {
      if (job.state === 'settled') return;
      this.#leave(job);
      job.state = 'settled';
      this.#jobs.delete(job);
      job.timeout?.cancel();
      signal?.removeEventListener('abort', onAbort);
      if ('answer' in outcome) return resolve(outcome);
      if (outcome.error instanceof AmbiguousOutcomeError) this.#options.route.ambiguous(outcome.error);
      reject(outcome.error);
      job.abort?.abort(outcome.error);
    };
    const onAbort = () => {
      const data = { sent: job.attempts > 0 };
      settle({ error: new RpcError('cancelled', `${method} was cancelled`, { data, cause: signal?.reason }) });
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const job: Job = {
      request,
      entry: undefined,
      timeout: timeoutMs === undefined ? undefined : new Timeout(clock, timeoutMs, () => this.#timedOut(job)),
      abort: undefined,
      settle,
      state: 'queued',
      cancelPause: () => {},
      attempts: 0,
      deliveries: 0,
      renewed: false,
      widened: 0,
    };
    retries.noteRequest();
    this.#jobs.add(job);
    const { priority, fairnessKey } = request;
    const connection = this.#mustWait() || this.#queue.size > 0 ? undefined : this.#options.route.connection();
    if (connection === undefined) {
      job.entry = this.#queue.push(job, priority, fairnessKey);
      this.pump();
    } else {
      job.entry = this.#queue.place(job, priority, fairnessKey);
      this.#take(job, connection);
    }
    return promise;
  }

  /** Sends what can be sent now; fails what waits in vain. Call it whenever the route has changed. */
  pump(): void {
    const { maxConcurrent, route } = this.#options;
    const refusal = this.#queue.size > 0 ? route.refusal() : undefined;
    while (this.#queue.size > 0) {
      const connection = route.connection();
      if (refusal === undefined && (connection === undefined || this.#active >= maxConcurrent)) return;
      const job = (this.#queue.pop() as QueueEntry<Job>).value;
      if (refusal !== undefined) job.settle({ error: this.#failure(job, refusal) });
      else this.#take(job, connection as Connection);
    }
  }

  /** Fails everything queued or in progress: the client is closed. */
  failAll(error: RpcError): void {
    for (const job of [...this.#jobs])
      job.settle({ error: this.#isAmbiguous(job) ? ambiguous(job.request, 'closed', error) : this.#failure(job, error) });
  }

  #refusalFor({ method, signal }: ScheduledRequest): RpcError | undefined {
    const { queueLimit, route } = this.#options;
    if (signal?.aborted) return new RpcError('cancelled', `${method} was cancelled`, { data: { sent: false }, cause: signal.reason });
    if (!this.#mustWait() || this.queued < queueLimit) return undefined;
    route.queueFull(method);
    return new RpcError('unavailable', `The request queue is full (queueLimit ${queueLimit})`, { data: { queueLimit } });
  }

  #mustWait(): boolean {
    const { maxConcurrent, route } = this.#options;
    return route.connection() === undefined || this.#active >= maxConcurrent;
  }

  /** It is the job's turn. */
  #take(job: Job, connection: Connection): void {
    if (this.#options.route.fastestAnswerMs() > timeLeftMs(job)) this.#timedOut(job);
    else void this.#send(job, connection);
  }

  /** Takes the job out of where it waits. */
  #leave(job: Job): void {
    if (job.state === 'queued' && job.entry !== undefined) this.#queue.remove(job.entry);
    if (job.state !== 'pausing') return;
    job.cancelPause();
    this.#pausing -= 1;
  }

  #timedOut(job: Job): void {
    const { method, timeoutMs } = job.request;
    if (this.#isAmbiguous(job)) {
      job.settle({ error: ambiguous(job.request, 'timeout') });
      return;
    }
    const where = job.state === 'sent' ? 'No answer to' : 'No connection, no turn or too little time for';
    const data = { timeoutMs: timeoutMs as number, sent: job.attempts > 0 };
    job.settle({ error: new RpcError('timeout', `${where} ${method} within ${timeoutMs} ms`, { data }) });
  }

  async #send(job: Job, connection: Connection): Promise<void> {
    const { clock, route } = this.#options;
    const { method, params, onProgress } = job.request;
    const onInput = (isWaiting: boolean) => {
      job.timeout?.hold(isWaiting);
      job.request.onInput?.(isWaiting);
    };
    const sentAt = clock.now();
    this.#active += 1;
    job.state = 'sent';
    job.attempts += 1;
    job.abort = new AbortController();
    route.sent();
    try {
      const answer = await connection.request(method, params, { signal: job.abort.signal, onProgress, onInput });
      // The time that a user takes is none of the server's.
      route.answered(answer.interactive ? undefined : clock.now() - sentAt);
      job.settle({ answer, connection });
    } catch (error) {
      // An error of the server's own.
      if (isRpcError(error) && error.jsonRpcCode !== undefined) route.answered();
      if (job.state === 'sent' && isRpcError(error) && error.code === 'insufficient_scope' && job.widened < MAX_WIDENED) {
        this.#widen(job, connection, error);
      } else if (job.state === 'sent') {
        const verdict = this.#verdictOn(job, connection, error as Error);
        if ('error' in verdict) job.settle(verdict);
        else this.#again(job, verdict.delayMs, error as Error);
      }
    } finally {
      this.#active -= 1;
      this.pump();
    }
  }

  /** The error to fail the request with, or the pause after which to send it again. */
  #verdictOn(job: Job, connection: Connection, error: Error): { readonly error: Error } | { readonly delayMs: number } {
    const { retries, route } = this.#options;
    if (error instanceof ConnectionLostError) {
      route.lost(connection, error);
      if (error.maybeDelivered) job.deliveries += 1;
      if (error.maybeDelivered && this.#isAmbiguous(job)) return { error: ambiguous(job.request, 'connection_lost', error) };
      if (retries.mayDeliver(job.deliveries)) return { delayMs: error.retryAfterMs ?? 0 };
      const message = `${job.request.method} lost its connection ${job.deliveries} times`;
      return { error: new RpcError('unavailable', message, { data: { sent: true }, cause: error }) };
    }
    if (!isRpcError(error)) return { error };
    // Refused before it was carried out, so any method may be sent again.
    if (error.code === 'unauthenticated' && !job.renewed && route.renew(connection, error)) {
      job.renewed = true;
      return { delayMs: 0 };
    }
    job.deliveries += 1;
    const delayMs = this.#mayRepeat(job) ? retries.delay(error, job.deliveries, timeLeftMs(job)) : undefined;
    if (delayMs !== undefined) return { delayMs };
    return { error: error.code === 'ambiguous_outcome' ? ambiguous(job.request, 'upstream', error) : error };
  }

  /** Back to where it stood in the queue, after a pause if need be. */
  #again(job: Job, delayMs: number, reason: Error): void {
    // Whoever was told of the loss may have ended it.
    if (job.state !== 'sent' || job.entry === undefined) return;
    const { entry } = job;
    // An input handler may still be at work for it.
    job.abort?.abort(reason);
    const queue = () => {
      job.state = 'queued';
      this.#queue.putBack(entry);
    };
    if (delayMs > 0) {
      job.state = 'pausing';
      this.#pausing += 1;
      job.cancelPause = this.#options.clock.setTimeout(() => {
        this.#pausing -= 1;
        queue();
        this.pump();
      }, delayMs);
    } else queue();
    this.#options.route.retried({ method: job.request.method, attempt: job.attempts, delayMs, reason });
  }

  /** Refused before it was carried out: it waits for credentials with the scope, and is sent again with them. */
  #widen(job: Job, connection: Connection, reason: RpcError): void {
    job.widened += 1;
    job.state = 'pausing';
    job.cancelPause = () => {};
    this.#pausing += 1;
    void this.#options.route.widen(connection, reason).then((widened) => {
      if (job.state !== 'pausing') return;
      if (!widened || job.entry === undefined) return job.settle({ error: reason });
      this.#pausing -= 1;
      job.state = 'queued';
      this.#queue.putBack(job.entry);
      this.#options.route.retried({ method: job.request.method, attempt: job.attempts, delayMs: 0, reason });
      this.pump();
    });
  }

  /** The error, with `sent` where the request may have been carried out in spite of it. */
  #failure({ state, deliveries }: Job, error: RpcError): RpcError {
    if (state !== 'sent' && deliveries === 0) return error;
    return new RpcError(error.code, error.message, { data: { ...error.data, sent: true }, cause: error });
  }

  #mayRepeat({ request }: Job): boolean {
    return request.repeatable ?? this.#options.route.mayRepeat(request.method, request.params);
  }

  #isAmbiguous(job: Job): boolean {
    return job.state === 'sent' && !this.#mayRepeat(job);
  }
}

function timeLeftMs({ timeout }: Job): number {
  return timeout?.leftMs ?? Number.POSITIVE_INFINITY;
}

function ambiguous({ method, params }: ScheduledRequest, reason: AmbiguousReason, cause?: unknown): AmbiguousOutcomeError {
  const key = isJsonObject(params._meta) ? params._meta[META.idempotencyKey] : undefined;
  const tool = method === 'tools/call' && typeof params.name === 'string' ? params.name : undefined;
  return new AmbiguousOutcomeError({ method, tool, idempotencyKey: typeof key === 'string' ? key : undefined }, reason, cause);
}
