import { type Clock, principalKey, type Random, type RpcContext, RpcError, type RpcRequest, type RpcResult, sleep } from '@mcp-blocks/core';
import { type Call, isPushback, isRefusal, isRetryable, NoNode, pickInfoOf, repetitionOf } from './call.js';
import { Deadline } from './deadline.js';
import { hasKey, withKey, withScope } from './idempotency-key.js';
import type { CallCounter } from './metrics.js';
import { NodeSender, TimeIsUp } from './node-sender.js';
import type { NodeSet } from './node-set.js';
import { RetryBudget } from './resilience/retry-budget.js';
import { ToolCatalog } from './tool-catalog.js';
import { TransportFailure } from './upstream/upstream.js';
import type { UpstreamSessions } from './upstream-sessions.js';

/** How one call is sent. */
export interface RouteOptions {
  /**
   * Keeps the calls of a session on one node while that node can take requests, by rendezvous hashing, or
   * with the strategy `sticky` while it is not overloaded.
   * Default: the legacy session of `context`; else the balancing strategy decides each call.
   */
  readonly sessionId?: string;
  /** On whose behalf, where there is no `context`: the `id` of the principal that `credentials` is asked for. */
  readonly userId?: string;
  /** The id of the node to use while it can take requests. */
  readonly preferredNode?: string;
  readonly signal?: AbortSignal;
  /** The context of the request that is passed on: its principal, client, progress and cancellation. */
  readonly context?: RpcContext;
}

/** What {@link Router} works with; times in milliseconds. */
export interface RouterOptions {
  readonly clusterName: string;
  readonly nodes: NodeSet;
  readonly counter: CallCounter;
  readonly clock: Clock;
  readonly random: Random;
  readonly requestTimeoutMs: number;
  readonly retry: {
    readonly attempts: number;
    readonly budget: number;
    readonly minConcurrent: number;
    readonly baseDelay: number;
    readonly maxDelay: number;
    readonly perTryTimeout?: number;
    /** The nodes deduplicate by idempotency key. */
    readonly exactlyOnce: boolean;
  };
  /** How long the first node has before a second is asked too. Absent: as long as it takes. */
  readonly hedgeDelayMs: number | undefined;
  /** Absent: callers with the same rights share sessions at legacy nodes. */
  readonly sessions: UpstreamSessions | undefined;
  /** When a caller without a node is told to come back. */
  readonly retryAfterMs: () => number;
}

/** Another node has answered first. */
class Overtaken extends Error {}

/** Sends calls to nodes and, where that is safe and within the budget, to another node when one fails or takes long. */
export class Router {
  readonly catalog = new ToolCatalog();
  readonly #options: RouterOptions;
  readonly #budget: RetryBudget;
  readonly #sender: NodeSender;

  constructor(options: RouterOptions) {
    this.#options = options;
    const { retry, nodes, counter, clock } = options;
    this.#budget = new RetryBudget({ ratio: retry.budget, minConcurrent: retry.minConcurrent });
    this.#sender = new NodeSender({ nodes, counter, clock, catalog: this.catalog, perTryTimeoutMs: retry.perTryTimeout });
  }

  async route(given: RpcRequest, options: RouteOptions): Promise<RpcResult> {
    const { clock, counter, requestTimeoutMs } = this.#options;
    const request = withScope(this.#keyed(given), options);
    const startedAt = clock.now();
    const deadline = new Deadline(clock, requestTimeoutMs, () => new TimeIsUp());
    const signals = [deadline.signal, options.signal, options.context?.signal].filter((signal) => signal !== undefined);
    const leave = this.#budget.enter();
    counter.total += 1;
    let succeeded = false;
    try {
      const info = pickInfoOf(request, callerOf(options), options.sessionId ?? options.context?.sessionId);
      const session = await this.#options.sessions?.of(options.context);
      const result = await this.#attempt({
        request,
        options: session?.node === undefined ? options : { preferredNode: session.node, ...options },
        session,
        info,
        tried: new Set(),
        signal: AbortSignal.any(signals),
        deadline,
        sending: 0,
        uncertain: false,
      });
      succeeded = true;
      return result;
    } finally {
      deadline.end();
      leave();
      counter.finish(startedAt, succeeded);
    }
  }

  async #attempt(call: Call): Promise<RpcResult> {
    const { counter, retry } = this.#options;
    let lastFailure: unknown;
    for (let attempt = 1; attempt <= retry.attempts; attempt += 1) {
      let leave: (() => void) | undefined;
      try {
        if (attempt === 1) return await this.#first(call);
        const repetition = repetitionOf(lastFailure);
        if (repetition !== 'free') {
          leave = repetition === 'patient' ? await this.#budget.wait(call.signal) : this.#budget.take();
          if (leave === undefined) {
            counter.retriesRefused += 1;
            break;
          }
          await this.#backOff(attempt - 1, call.signal);
        }
        return await this.#sender.send(call, 'retry');
      } catch (error) {
        if (call.signal.aborted) throw this.#ended(call);
        if (error instanceof NoNode) break;
        if (!isRetryable(error)) {
          const answer = asAnswer(error);
          throw call.uncertain && isRefusal(answer) ? ambiguous(call, answer) : answer;
        }
        if (error instanceof TransportFailure && error.delivery === 'unknown') {
          if (this.#deduplicates(call)) call.uncertain ||= this.catalog.isRepeatable(call.request) !== true;
          else if (!(await this.#isRepeatable(call))) throw ambiguous(call, error);
        }
        lastFailure = error;
      } finally {
        leave?.();
      }
    }
    throw call.uncertain ? ambiguous(call, lastFailure) : this.#unavailable(lastFailure);
  }

  /** With `exactlyOnce`, a call of a tool has a key, unless it is known to be repeatable without. */
  #keyed(request: RpcRequest): RpcRequest {
    if (!this.#options.retry.exactlyOnce || request.method !== 'tools/call' || hasKey(request)) return request;
    return this.catalog.isRepeatable(request) === true ? request : withKey(request);
  }

  #deduplicates({ request }: Call): boolean {
    return this.#options.retry.exactlyOnce && hasKey(request);
  }

  #first(call: Call): Promise<RpcResult> {
    const { hedgeDelayMs } = this.#options;
    if (hedgeDelayMs === undefined || this.catalog.isRepeatable(call.request) !== true) return this.#sender.send(call, 'first');
    return this.#hedged(call, hedgeDelayMs);
  }

  /** Asks a second node when the first takes long. The first answer counts, and the other request is cancelled. */
  #hedged(call: Call, delayMs: number): Promise<RpcResult> {
    const { clock, counter } = this.#options;
    const overtaken = new AbortController();
    const signal = AbortSignal.any([call.signal, overtaken.signal]);
    return new Promise((resolve, reject) => {
      let running = 0;
      let failure: unknown;
      const end = () => {
        cancelHedge();
        overtaken.abort(new Overtaken());
      };
      const run = (sent: Promise<RpcResult>) => {
        running += 1;
        sent.then(
          (result) => {
            end();
            resolve(result);
          },
          (error: unknown) => {
            running -= 1;
            if (!(error instanceof NoNode)) failure = error;
            // While the other one may still answer, this failure is no news.
            if (running > 0 && (error instanceof NoNode || isRetryable(error) || isPushback(error))) return;
            end();
            reject(failure ?? error);
          },
        );
      };
      const cancelHedge = clock.setTimeout(() => {
        const leave = this.#budget.take();
        if (leave === undefined) counter.retriesRefused += 1;
        else run(this.#sender.send(call, 'hedge', signal).finally(leave));
      }, delayMs);
      run(this.#sender.send(call, 'first', signal));
    });
  }

  /** A random time up to one that doubles from retry to retry ("full jitter"). */
  async #backOff(retries: number, signal: AbortSignal): Promise<void> {
    const { clock, random, retry } = this.#options;
    const delayMs = random() * Math.min(retry.maxDelay, retry.baseDelay * 2 ** (retries - 1));
    if (delayMs > 0) await sleep(clock, delayMs, signal);
  }

  /** Asks for the list of tools when a call fails on a tool that none has named yet. */
  async #isRepeatable({ request, options, tried, signal, deadline }: Call): Promise<boolean> {
    const known = this.catalog.isRepeatable(request);
    if (known !== undefined) return known;
    let cursor: unknown;
    do {
      const list: RpcRequest = { method: 'tools/list', params: typeof cursor === 'string' ? { cursor } : {} };
      const info = pickInfoOf(list, callerOf(options), undefined);
      try {
        const call: Call = {
          request: list,
          options: withoutPreference(options),
          info,
          tried: new Set(tried),
          signal,
          deadline,
          sending: 0,
          uncertain: false,
        };
        cursor = (await this.#sender.send(call, 'lookup')).nextCursor;
      } catch {
        return false;
      }
    } while (typeof cursor === 'string' && this.catalog.isRepeatable(request) === undefined);
    return this.catalog.isRepeatable(request) ?? false;
  }

  /** Why a call ends whose signal has aborted. */
  #ended(call: Call): RpcError {
    const { requestTimeoutMs } = this.#options;
    const { signal, request, sending } = call;
    if (!(signal.reason instanceof TimeIsUp)) return new RpcError('cancelled', 'The call was cancelled', { cause: signal.reason });
    if (call.uncertain) return ambiguous(call, undefined);
    if (sending === 0) return this.#unavailable(undefined, `within ${requestTimeoutMs} ms`);
    return this.catalog.isRepeatable(request)
      ? new RpcError('timeout', `No answer within ${requestTimeoutMs} ms`)
      : new RpcError('ambiguous_outcome', `No answer within ${requestTimeoutMs} ms; the call may or may not have been carried out`);
  }

  #unavailable(cause: unknown, when = 'now'): RpcError {
    if (cause instanceof TransportFailure && !cause.blamesNode) {
      return new RpcError('upstream_error', `The nodes of ${this.#options.clusterName} refused the cluster's request`, {
        cause,
        auditReason: cause.message,
      });
    }
    const retryAfterMs = this.#options.retryAfterMs();
    return new RpcError('unavailable', `No node of ${this.#options.clusterName} can take the call ${when}`, {
      data: { retryAfterMs },
      headers: { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
      ...(cause === undefined ? {} : { cause, auditReason: cause instanceof Error ? cause.message : String(cause) }),
    });
  }
}

function ambiguous({ tried }: Call, cause: unknown): RpcError {
  return new RpcError('ambiguous_outcome', 'The connection was lost during the call; it may or may not have been carried out', {
    cause,
    auditReason: `node ${[...tried].at(-1)}: ${cause instanceof Error ? cause.message : 'no answer in time'}`,
  });
}

/** A node's answer as it came, or the one that its bare HTTP status 429 stands for. */
function asAnswer(error: unknown): unknown {
  if (!(error instanceof TransportFailure)) return error;
  return new RpcError('rate_limited', 'The upstream service takes no more requests for now', { cause: error });
}

/** Names the caller for strategies that keep one on a node. Callers nobody vouched for have nothing in common. */
function callerOf({ context, userId }: RouteOptions): string | undefined {
  if (context === undefined) return userId;
  return context.principal.authentication === 'anonymous' ? undefined : principalKey(context.principal);
}

function withoutPreference({ preferredNode: _preferred, ...options }: RouteOptions): RouteOptions {
  return options;
}
