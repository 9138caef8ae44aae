import {
  anonymous,
  type Clock,
  ConfigurationError,
  isRepeatableMethod,
  isRpcError,
  type JsonObject,
  MODERN_PROTOCOL_VERSION,
  type Random,
  RetryBudget,
  type RetryBudgetOptions,
  type RpcContext,
  RpcError,
  type RpcHandler,
  type RpcResult,
  sleep,
  systemClock,
} from '@mcp-blocks/core';

/** Something that sends requests to a server, such as a client around an SDK `Client`. */
export interface RpcConnection {
  /** Rejects with `RpcError`; gives up when the signal aborts. */
  request(method: string, params: JsonObject, options: { readonly signal: AbortSignal }): Promise<RpcResult>;
}

/** Retries of one call. */
export interface RetryOptions {
  /** Most attempts after the first, 0 to 100. Default: 2. */
  readonly attempts?: number;
  /** Before attempt `k` a random time up to `initialDelayMs · 2^(k-1)` passes. Default: 100. */
  readonly initialDelayMs?: number;
  /** Never more than this, unless the server asks for a longer wait. Default: 5,000. */
  readonly maxDelayMs?: number;
}

/** Options of {@link RpcCaller}: `handler` or `connection`, and the rest as needed. */
export interface RpcCallerOptions {
  /** Sends or answers the calls; middleware such as `RateLimitedRPC` may be around it. */
  readonly handler?: RpcHandler;
  readonly connection?: RpcConnection;
  /** What a `handler` is given beside the signal of a call. Default: an anonymous principal in memory, 2026-07-28. */
  readonly context?: Partial<Omit<RpcContext, 'signal'>>;
  /** Time for a call with all its retries and waits, in milliseconds, 1 to 2,147,483,647. Default: 30,000. */
  readonly timeoutMs?: number;
  readonly retries?: RetryOptions;
  /** Bounds the retries of all calls together. */
  readonly retryBudget?: RetryBudgetOptions;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: `Math.random`. */
  readonly random?: Random;
}

/** Options of one call. */
export interface CallOptions {
  /** Instead of the caller's. */
  readonly timeoutMs?: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
  /**
   * Whether the call may be carried out twice. Default: what core's `isRepeatableMethod` says, which is
   * false for `tools/call`.
   */
  readonly repeatable?: boolean;
}

/** One call of a batch. */
export interface BatchItem {
  readonly method: string;
  readonly params?: JsonObject;
  /** As in {@link CallOptions}. */
  readonly repeatable?: boolean;
}

/** What became of it. */
export type BatchResult = { readonly ok: true; readonly result: RpcResult } | { readonly ok: false; readonly error: unknown };

/** Errors that may go away, where the call may be repeated. A timed-out call is not sent again: the server is still busy with it. */
const RETRIED: ReadonlySet<string> = new Set(['rate_limited', 'unavailable', 'upstream_error', 'ambiguous_outcome']);

/**
 * Calls a server: with a time limit, and again where that is safe and may help. It waits as long as the
 * server says (`retryAfterMs`), or a random time that doubles (full jitter), and stops when retries
 * outgrow their budget.
 */
export class RpcCaller {
  readonly #send: RpcHandler;
  readonly #context: Omit<RpcContext, 'signal'>;
  readonly #timeoutMs: number;
  readonly #retries: Required<RetryOptions>;
  readonly #budget: RetryBudget;
  readonly #clock: Clock;
  readonly #random: Random;

  /** @throws ConfigurationError when an option is missing or out of range. */
  constructor(options: RpcCallerOptions) {
    const { handler, connection, clock = systemClock, retries = {}, retryBudget = {} } = options;
    if ((handler === undefined) === (connection === undefined)) {
      throw new ConfigurationError('handler', "expected either 'handler' or 'connection'");
    }
    this.#send = handler ?? (({ method, params }, { signal }) => (connection as RpcConnection).request(method, params, { signal }));
    this.#context = {
      principal: anonymous,
      transport: 'memory',
      protocolVersion: MODERN_PROTOCOL_VERSION,
      notify: () => Promise.resolve(),
      ...options.context,
    };
    this.#timeoutMs = number('timeoutMs', options.timeoutMs ?? 30_000, 1, 2_147_483_647);
    this.#retries = {
      attempts: number('retries.attempts', retries.attempts ?? 2, 0, 100),
      initialDelayMs: number('retries.initialDelayMs', retries.initialDelayMs ?? 100, 1, 3_600_000),
      maxDelayMs: number('retries.maxDelayMs', retries.maxDelayMs ?? 5000, 1, 3_600_000),
    };
    number('retryBudget.ratio', retryBudget.ratio ?? 0, 0, 1);
    number('retryBudget.minPerSecond', retryBudget.minPerSecond ?? 0, 0, 1000);
    this.#budget = new RetryBudget(retryBudget, clock);
    this.#clock = clock;
    this.#random = options.random ?? Math.random;
  }

  /**
   * Calls and resolves with the result.
   * @throws RpcError `timeout` when the time is over, `cancelled` when the signal aborts, else what the last
   * attempt failed with.
   */
  async call(method: string, params: JsonObject = {}, options: CallOptions = {}): Promise<RpcResult> {
    const timeoutMs = number('timeoutMs', options.timeoutMs ?? this.#timeoutMs, 1, 2_147_483_647);
    if (options.signal?.aborted) throw cancelled(options.signal);
    const end = new AbortController();
    const deadline = this.#clock.now() + timeoutMs;
    const cancelTimer = this.#clock.setTimeout(() => end.abort(new RpcError('timeout', `No answer within ${timeoutMs} ms`)), timeoutMs);
    const onAbort = () => end.abort(cancelled(options.signal));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#budget.noteCall();
    try {
      return await this.#attempts(method, params, options.repeatable ?? isRepeatableMethod(method), deadline, end.signal);
    } finally {
      cancelTimer();
      options.signal?.removeEventListener('abort', onAbort);
      // Whatever is left of an attempt has nobody to answer to.
      end.abort();
    }
  }

  /**
   * Makes many calls, `concurrency` at a time (default: 8), and resolves with what became of each, in
   * their order. It rejects for no call that failed.
   */
  async batchCall(
    items: readonly BatchItem[],
    { concurrency = 8, ...options }: CallOptions & { readonly concurrency?: number } = {},
  ): Promise<readonly BatchResult[]> {
    number('concurrency', concurrency, 1, 10_000);
    const results: BatchResult[] = [];
    const waiting = items.entries();
    const lane = async () => {
      for (const [index, { method, params, repeatable }] of waiting) {
        const own = repeatable === undefined ? options : { ...options, repeatable };
        results[index] = await this.call(method, params, own).then(
          (result) => ({ ok: true, result }),
          (error: unknown) => ({ ok: false, error }),
        );
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, lane));
    return results;
  }

  async #attempts(method: string, params: JsonObject, repeatable: boolean, deadline: number, signal: AbortSignal): Promise<RpcResult> {
    for (let retry = 1; ; retry += 1) {
      try {
        return await unlessAborted(signal, () => this.#send({ method, params }, { ...this.#context, signal }));
      } catch (error) {
        if (signal.aborted) throw signal.reason as Error;
        if (!repeatable || retry > this.#retries.attempts || !isRpcError(error) || !RETRIED.has(error.code)) throw error;
        const delayMs = this.#delayMs(retry, error);
        // Who cannot wait that long learns it now, not when the time is over.
        if (this.#clock.now() + delayMs >= deadline || !this.#budget.takeRetry()) throw error;
        await sleep(this.#clock, delayMs, signal);
      }
    }
  }

  #delayMs(retry: number, { data }: RpcError): number {
    const { initialDelayMs, maxDelayMs } = this.#retries;
    const jitter = this.#random() * Math.min(maxDelayMs, initialDelayMs * 2 ** (retry - 1));
    const asked = data?.retryAfterMs;
    // On top of what the server asks for, so that those it sent away together do not come back together.
    return (typeof asked === 'number' && asked > 0 ? asked : 0) + jitter;
  }
}

/** The answer, or the signal's reason as soon as it aborts, also when whoever answers does not look at it. */
function unlessAborted<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    act()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function cancelled(signal: AbortSignal | undefined): RpcError {
  return new RpcError('cancelled', 'The call was given up', { cause: signal?.reason });
}

function number(option: string, value: number, min: number, max: number): number {
  if (Number.isFinite(value) && value >= min && value <= max && (Number.isInteger(value) || option.startsWith('retryBudget'))) return value;
  throw new ConfigurationError(option, `expected a number from ${min} to ${max}, got ${value}`);
}
