import {
  type AuditEvent,
  type AuditSink,
  type Principal,
  principalKey,
  type RpcContext,
  RpcError,
  type RpcMiddleware,
  type RpcRequest,
} from '@mcp-blocks/core';
import { checkOptions, type RateLimit, type RateLimitedRpcOptions, UNLIMITED_METHODS } from './options.js';
import { RecentClients } from './recent-clients.js';
import { refusal } from './refusal.js';
import { WindowCounter, type WindowUse } from './window-counter.js';

/** Names the counters meant: of every limit whose key can be made from the given members. */
export interface RateLimitSubject {
  readonly principal?: Principal;
  readonly tool?: string;
  readonly method?: string;
  /** What a limit's own `by` function returned. */
  readonly key?: string;
  /** Only the limit of this name. */
  readonly limit?: string;
}

/** How one limit stands for a subject. */
export interface RateLimitStatus extends WindowUse {
  /** The limit's name. */
  readonly limit: string;
  readonly requests: number;
  readonly windowMs: number;
}

/** Counts since construction. */
export interface RateLimitMetrics {
  /** Calls that came through the middleware, exempt ones included; `allowedRequests + blockedRequests`. */
  readonly totalRequests: number;
  readonly allowedRequests: number;
  readonly blockedRequests: number;
  /** Principals seen within the longest window; exact up to `maxKeys`, and never more than it. */
  readonly uniqueClients: number;
}

interface ActiveLimit {
  readonly limit: RateLimit & { readonly name: string };
  readonly counter: WindowCounter;
}

/**
 * Refuses calls beyond configured rates, counting in this process's memory.
 *
 * A refused call fails with `RpcError` `rate_limited`: on HTTP 429 with `Retry-After`, everywhere a
 * JSON-RPC error with `data: { retryAfterMs, limit, remaining, resetMs, by }`. Where several limits
 * refuse, it is told the longest wait. It is counted by none of the limits.
 *
 * The middleware works in front of any handler, and on a client before a call is sent.
 */
export class RateLimitedRPC {
  /** Put it into the `middleware` of a server, a client, or `compose`. */
  readonly middleware: RpcMiddleware;
  readonly #limits: readonly ActiveLimit[];
  readonly #exempt: RateLimitedRpcOptions['exempt'];
  readonly #audit: AuditSink | undefined;
  readonly #clients: RecentClients;
  #allowed = 0;
  #blocked = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** @throws ConfigurationError when an option is missing, unknown or out of range. */
  constructor(options: RateLimitedRpcOptions) {
    const limits = checkOptions(options);
    const maxKeys = options.maxKeys ?? 10_000;
    this.#limits = limits.map((limit) => ({ limit, counter: new WindowCounter(limit.requests, limit.windowMs, maxKeys) }));
    this.#exempt = options.exempt;
    this.#audit = options.audit;
    this.#clients = new RecentClients(Math.max(...limits.map(({ windowMs }) => windowMs)), maxKeys);
    this.middleware = (next) => async (request, context) => {
      await this.#admit(request, context);
      return next(request, context);
    };
  }

  /** How the limits stand for a subject, without counting anything. */
  async getRateLimitStatus(subject: RateLimitSubject): Promise<readonly RateLimitStatus[]> {
    return Promise.all(
      this.#counters(subject).map(async ({ limit: { name, requests, windowMs }, counter, key }) => ({
        limit: name,
        requests,
        windowMs,
        ...(await counter.peek(key)),
      })),
    );
  }

  /** Forgets what a subject has used; resolves with how many counters that were. */
  async resetRateLimit(subject: RateLimitSubject): Promise<number> {
    const reset = await Promise.all(this.#counters(subject).map(({ counter, key }) => counter.reset(key)));
    return reset.filter(Boolean).length;
  }

  metrics(): RateLimitMetrics {
    return {
      totalRequests: this.#allowed + this.#blocked,
      allowedRequests: this.#allowed,
      blockedRequests: this.#blocked,
      uniqueClients: this.#clients.count,
    };
  }

  /** Forgets all counts and ends their timers; calls after it fail with `internal_error`. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    await Promise.all(this.#limits.map(({ counter }) => counter.clear()));
    this.#clients.clear();
  }

  async #admit(request: RpcRequest, context: RpcContext): Promise<void> {
    if (this.#closed) throw new RpcError('internal_error', 'The rate limiter is closed');
    this.#clients.note(principalKey(context.principal));
    const applied = this.#exempt?.(request, context) === true ? [] : this.#applying(request, context);
    const refused = applied.length === 0 ? undefined : await this.#inTurn(() => this.#charge(applied));
    if (refused === undefined) {
      this.#allowed += 1;
      return;
    }
    this.#blocked += 1;
    throw this.#refuse(refused, applied, request, context);
  }

  #applying(request: RpcRequest, context: RpcContext) {
    const tool = request.method === 'tools/call' && typeof request.params.name === 'string' ? request.params.name : undefined;
    return this.#limits.flatMap((active) => {
      const { by, methods, tools } = active.limit;
      if (methods === undefined ? UNLIMITED_METHODS.has(request.method) : !methods.includes(request.method)) return [];
      if (tools !== undefined && (tool === undefined || !tools.includes(tool))) return [];
      const key =
        typeof by === 'function'
          ? by(request, context)
          : keyOf(by, { principal: context.principal, method: request.method, ...(tool === undefined ? {} : { tool }) });
      return key === undefined ? [] : [{ ...active, key }];
    });
  }

  /** Counts the call on every limit, or on none and resolves with the limit that refuses longest. */
  async #charge(applied: readonly (ActiveLimit & { key: string })[]) {
    let refused: { limit: ActiveLimit['limit']; use: WindowUse } | undefined;
    for (const { limit, counter, key } of applied) {
      const use = await counter.peek(key);
      if (use.remaining === 0 && use.resetMs > (refused?.use.resetMs ?? -1)) refused = { limit, use };
    }
    if (refused === undefined) for (const { counter, key } of applied) await counter.take(key);
    return refused;
  }

  /** One check at a time, so that nobody else counts between looking at the limits and counting on them. */
  #inTurn<T>(check: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(check);
    this.#turn = result.catch(() => {});
    return result;
  }

  #refuse(
    { limit, use }: { limit: ActiveLimit['limit']; use: WindowUse },
    applied: readonly ActiveLimit[],
    request: RpcRequest,
    context: RpcContext,
  ): RpcError {
    const limits = applied.map((active) => active.limit);
    const error = refusal(limit, use, limits);
    try {
      this.#audit?.record(auditEvent(request, context, error.auditReason ?? limit.name));
      return error;
    } catch (failure) {
      // The call is refused whether or not the trail takes the event; the owner sees why in the cause.
      return refusal(limit, use, limits, failure);
    }
  }

  #counters(subject: RateLimitSubject) {
    return this.#limits.flatMap((active) => {
      if (subject.limit !== undefined && subject.limit !== active.limit.name) return [];
      const { by } = active.limit;
      const key = typeof by === 'function' ? subject.key : keyOf(by, subject);
      return key === undefined ? [] : [{ ...active, key }];
    });
  }
}

function keyOf(
  by: Exclude<RateLimit['by'], (...args: never[]) => unknown>,
  { principal, tool, method }: RateLimitSubject,
): string | undefined {
  switch (by) {
    case 'principal':
      return principal && principalKey(principal);
    case 'tool':
      return tool;
    case 'method':
      return method;
    case 'principal+tool':
      return principal && tool !== undefined ? JSON.stringify([principalKey(principal), tool]) : undefined;
  }
}

function auditEvent(request: RpcRequest, context: RpcContext, reason: string): AuditEvent {
  const { name } = request.params;
  const target = request.method === 'tools/call' && typeof name === 'string' ? name : request.method;
  const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(context.trace?.traceparent ?? '')?.[1];
  return {
    type: 'rate.limited',
    time: Date.now(),
    outcome: 'denied',
    actor: context.principal.id,
    // As the caller wrote it, so bounded.
    target: target.slice(0, 256),
    reason,
    transport: context.transport,
    ...(traceId === undefined ? {} : { traceId }),
    ...(context.remoteAddress === undefined ? {} : { remoteAddress: context.remoteAddress }),
    ...(context.sessionId === undefined ? {} : { sessionId: context.sessionId }),
  };
}
