import {
  type AuditEvent,
  type AuditSink,
  type Clock,
  principalKey,
  type RpcContext,
  RpcError,
  type RpcMiddleware,
  type RpcRequest,
  systemClock,
} from '@mcp-blocks/core';
import { AccessList, type AccessListEntry } from './access-list.js';
import type { LimitUse } from './algorithms/limiter.js';
import { boundedKey, type KeyParts, keyOf, partsOf } from './key.js';
import type { LimitCounters, LimitOutcome, PaidCharge } from './limit-store.js';
import { MemoryLimitCounters } from './memory-limit-store.js';
import {
  type ConcurrencyLimit,
  checkOptions,
  isConcurrency,
  type NamedLimit,
  type NamedRequestLimit,
  type RateLimitedRpcOptions,
  UNLIMITED_METHODS,
} from './options.js';
import { RecentClients } from './recent-clients.js';
import { CONCURRENCY_RETRY_MS, type LimitStanding, limitHeaders, refusal } from './refusal.js';
import { type LimitSlots, MemorySlots, type SlotClaim } from './slots.js';

/** Names the counters meant: of every limit whose key can be made from the given members. */
export interface RateLimitSubject extends KeyParts {
  /** What a limit's own `by` function returned. */
  readonly key?: string;
  /** Only the limit of this name. */
  readonly limit?: string;
}

/** How one limit stands for a subject. */
export interface RateLimitStatus extends LimitUse {
  /** The limit's name. */
  readonly limit: string;
  /** Of a request limit. */
  readonly requests?: number;
  /** Of a request limit. */
  readonly windowMs?: number;
  /** Of a concurrency limit. */
  readonly concurrent?: number;
}

/** Counts since construction. */
export interface RateLimitMetrics {
  /** Calls that came through the middleware, exempt ones included; `allowedRequests + blockedRequests`. */
  readonly totalRequests: number;
  readonly allowedRequests: number;
  /** Refused calls, and calls that failed because a limit could not be checked. */
  readonly blockedRequests: number;
  /** Principals seen within the longest window (a minute without one); exact up to `maxKeys`, and never more than it. */
  readonly uniqueClients: number;
}

interface RequestApplication {
  readonly limit: NamedRequestLimit;
  readonly key: string;
  readonly cost: number;
}

/** What the end of an admitted call has to undo. */
type EndOfCall = (ending: 'succeeded' | 'failed' | 'given up') => Promise<void>;

/**
 * Refuses calls beyond configured rates.
 *
 * A refused call fails with `RpcError` `rate_limited`: on HTTP 429 with `Retry-After`, everywhere a
 * JSON-RPC error with `data: { retryAfterMs, limit, remaining, resetMs, by }`. Where several limits
 * refuse, it is told the longest wait. It is counted by none of the limits. A call on the deny list fails
 * with `forbidden`.
 *
 * The middleware works in front of any handler, and on a client before a call is sent.
 */
export class RateLimitedRPC {
  /** Put it into the `middleware` of a server, a client, or `compose`. */
  readonly middleware: RpcMiddleware;
  readonly #limits: readonly NamedLimit[];
  readonly #counters: LimitCounters;
  readonly #slots: LimitSlots;
  readonly #exempt: RateLimitedRpcOptions['exempt'];
  readonly #allowed: AccessList;
  readonly #denied: AccessList;
  readonly #audit: AuditSink | undefined;
  readonly #clock: Clock;
  readonly #clients: RecentClients;
  #allowedRequests = 0;
  #blockedRequests = 0;
  #closed = false;

  /** @throws ConfigurationError when an option is missing, unknown or out of range. */
  constructor(options: RateLimitedRpcOptions) {
    const limits = checkOptions(options);
    const { maxKeys = 10_000, clock = systemClock } = options;
    const now = () => clock.now();
    this.#limits = limits;
    this.#allowed = new AccessList('allowList', options.allowList ?? [], now);
    this.#denied = new AccessList('denyList', options.denyList ?? [], now);
    this.#exempt = options.exempt;
    this.#audit = options.audit;
    this.#clock = clock;
    const counted = limits.filter((limit) => !isConcurrency(limit)) as NamedRequestLimit[];
    this.#clients = new RecentClients(
      Math.max(...counted.map(({ windowMs }) => windowMs), counted.length === 0 ? 60_000 : 0),
      maxKeys,
      now,
    );
    const rules = counted.map(({ rule }) => rule);
    this.#counters = options.store?.open(rules, { maxKeys, clock }) ?? new MemoryLimitCounters(rules, { maxKeys, clock });
    const concurrent = limits.filter(isConcurrency);
    this.#slots = this.#counters.slots?.(concurrent) ?? new MemorySlots(concurrent);
    this.middleware = (next) => async (request, context) => {
      let end: EndOfCall | undefined;
      try {
        // Nothing to wait for where this process counts.
        const admitted = this.#admit(request, context);
        end = admitted instanceof Promise ? await admitted : admitted;
      } catch (error) {
        this.#blockedRequests += 1;
        throw error;
      }
      this.#allowedRequests += 1;
      if (end === undefined) return next(request, context);
      let failed = true;
      try {
        const result = await next(request, context);
        failed = result.isError === true;
        return result;
      } finally {
        // Who gives a call up has it worked on all the same; given back, that work would have no limit.
        await end(!failed ? 'succeeded' : context.signal.aborted ? 'given up' : 'failed');
      }
    };
  }

  /** How the limits stand for a subject, without counting anything. */
  async getRateLimitStatus(subject: RateLimitSubject): Promise<readonly RateLimitStatus[]> {
    const found = this.#keysOf(subject);
    const charges = found.flatMap(({ limit, key }) => (isConcurrency(limit) ? [] : [{ rule: limit.rule, key, cost: 0 }]));
    const uses = [...(await this.#counters.peek(charges))];
    const inProgress = [...(await this.#slots.used(claimsOf(found)))];
    return found.map(({ limit }) => {
      if (isConcurrency(limit)) {
        const used = inProgress.shift() as number;
        return { limit: limit.name, concurrent: limit.concurrent, used, remaining: Math.max(0, limit.concurrent - used), resetMs: 0 };
      }
      const { used, remaining, resetMs } = uses.shift() as LimitUse;
      return { limit: limit.name, requests: limit.requests, windowMs: limit.windowMs, used, remaining, resetMs };
    });
  }

  /** Forgets what a subject has used; resolves with how many counts that were. Calls in progress stay counted. */
  async resetRateLimit(subject: RateLimitSubject): Promise<number> {
    return this.#counters.reset(
      this.#keysOf(subject).flatMap(({ limit, key }) => (isConcurrency(limit) ? [] : [{ rule: limit.rule, key, cost: 0 }])),
    );
  }

  /**
   * Puts an entry on the allow list of this limiter; the returned function takes it off again.
   * @throws ConfigurationError for an entry that names nothing, or when the list is full.
   */
  allow(entry: AccessListEntry): () => void {
    return this.#allowed.add(entry);
  }

  /** The same for the deny list. */
  deny(entry: AccessListEntry): () => void {
    return this.#denied.add(entry);
  }

  metrics(): RateLimitMetrics {
    return {
      totalRequests: this.#allowedRequests + this.#blockedRequests,
      allowedRequests: this.#allowedRequests,
      blockedRequests: this.#blockedRequests,
      uniqueClients: this.#clients.count,
    };
  }

  /** Forgets all counts of this process and ends timers and connections; calls after it fail with `internal_error`. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#slots.close();
    await this.#counters.close();
    this.#clients.clear();
  }

  #admit(request: RpcRequest, context: RpcContext): EndOfCall | undefined | Promise<EndOfCall | undefined> {
    if (this.#closed) throw new RpcError('internal_error', 'The rate limiter is closed');
    this.#clients.note(principalKey(context.principal));
    const parts = partsOf(request, context);
    if (this.#denied.has(parts)) {
      const make = (cause?: unknown) => new RpcError('forbidden', 'Access denied', { auditReason: 'on the deny list', cause });
      throw this.#refuse(make, request, context);
    }
    if (this.#allowed.has(parts) || this.#exempt?.(request, context) === true) return undefined;
    const applied = this.#applying(request, context, parts);
    const counted: RequestApplication[] = [];
    const limits: NamedLimit[] = [];
    for (const application of applied) {
      limits.push(application.limit);
      if (!isConcurrency(application.limit)) counted.push(application as RequestApplication);
    }
    if (counted.length === applied.length) return this.#pay(counted, limits, request, context, undefined);
    return this.#enterAndPay(applied, counted, limits, request, context);
  }

  async #enterAndPay(
    applied: readonly { readonly limit: NamedLimit; readonly key: string }[],
    counted: readonly RequestApplication[],
    limits: readonly NamedLimit[],
    request: RpcRequest,
    context: RpcContext,
  ): Promise<EndOfCall | undefined> {
    const leave = await this.#enter(claimsOf(applied), limits, request, context);
    try {
      return await this.#pay(counted, limits, request, context, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Takes a slot of each concurrency limit, or throws the refusal; answers what gives them back. */
  async #enter(claims: readonly SlotClaim[], limits: readonly NamedLimit[], request: RpcRequest, context: RpcContext) {
    const outcome = await this.#slots.take(claims);
    if (outcome.taken) return outcome.leave;
    const full = limits.find(({ name }) => name === outcome.full.name) as NamedLimit & ConcurrencyLimit;
    const verdict = { allowed: false, used: full.concurrent, remaining: 0, resetMs: 0, retryAfterMs: CONCURRENCY_RETRY_MS, receipt: 0 };
    throw this.#refuse((cause) => refusal({ limit: full, verdict }, limits, cause), request, context);
  }

  /** Takes the points a call costs, or throws its refusal; answers what the end of the call has to undo. */
  #pay(
    counted: readonly RequestApplication[],
    limits: readonly NamedLimit[],
    request: RpcRequest,
    context: RpcContext,
    leave: (() => void) | undefined,
  ): EndOfCall | undefined | Promise<EndOfCall | undefined> {
    if (counted.length === 0) return this.#end([], [], leave);
    const settle = ({ allowed, verdicts }: LimitOutcome) => {
      const standings = counted.map(({ limit }, index) => ({ limit, verdict: verdicts[index] as LimitStanding['verdict'] }));
      if (!allowed) {
        const refused = standings
          .filter(({ verdict }) => !verdict.allowed)
          .reduce((longest, standing) => (standing.verdict.retryAfterMs > longest.verdict.retryAfterMs ? standing : longest));
        throw this.#refuse((cause) => refusal(refused, limits, cause), request, context);
      }
      if (context.addResponseHeader !== undefined) {
        const headers = limitHeaders(standings, limits);
        for (const name in headers) context.addResponseHeader(name, headers[name] as string);
      }
      return this.#end(counted, verdicts, leave);
    };
    const outcome = this.#counters.charge(counted.map(({ limit, key, cost }) => ({ rule: limit.rule, key, cost })));
    return outcome instanceof Promise ? outcome.then(settle) : settle(outcome);
  }

  #end(counted: readonly RequestApplication[], verdicts: LimitOutcome['verdicts'], leave: (() => void) | undefined): EndOfCall | undefined {
    if (leave === undefined && !counted.some(isRefundable)) return undefined;
    const refundable = counted
      .map((application, index) => ({ ...application, receipt: verdicts[index]?.receipt ?? 0 }))
      .filter(isRefundable);
    return async (ending) => {
      leave?.();
      if (ending === 'given up') return;
      const back = refundable.filter(({ limit }) => (ending === 'failed' ? limit.skipFailed : limit.skipSuccessful) === true);
      if (back.length === 0) return;
      const charges: PaidCharge[] = back.map(({ limit, key, cost, receipt }) => ({ rule: limit.rule, key, cost, receipt }));
      // What could not be given back stays counted until its window is over; the call itself has ended well.
      await this.#counters.refund(charges).catch(() => {});
    };
  }

  #applying(request: RpcRequest, context: RpcContext, parts: KeyParts): { limit: NamedLimit; key: string; cost: number }[] {
    const applied: { limit: NamedLimit; key: string; cost: number }[] = [];
    for (const limit of this.#limits) {
      const { by, methods, tools } = limit;
      if (methods === undefined ? UNLIMITED_METHODS.has(request.method) : !methods.includes(request.method)) continue;
      if (tools !== undefined && (parts.tool === undefined || !tools.includes(parts.tool))) continue;
      const key = typeof by === 'function' ? by(request, context) : keyOf(by, parts);
      if (key === undefined) continue;
      const cost = isConcurrency(limit) ? 1 : costOf(limit, request, context);
      if (cost > 0) applied.push({ limit, key: boundedKey(key), cost });
    }
    return applied;
  }

  #refuse(make: (cause?: unknown) => RpcError, request: RpcRequest, context: RpcContext): RpcError {
    const error = make();
    try {
      this.#audit?.record(auditEvent(request, context, this.#clock.now(), error.auditReason ?? error.message));
      return error;
    } catch (failure) {
      // The call is refused whether or not the trail takes the event; the owner sees why in the cause.
      return make(failure);
    }
  }

  #keysOf(subject: RateLimitSubject): { limit: NamedLimit; key: string }[] {
    return this.#limits.flatMap((limit) => {
      if (subject.limit !== undefined && subject.limit !== limit.name) return [];
      const key = typeof limit.by === 'function' ? subject.key : keyOf(limit.by, subject);
      return key === undefined ? [] : [{ limit, key: boundedKey(key) }];
    });
  }
}

function isRefundable({ limit }: RequestApplication): boolean {
  return limit.skipFailed === true || limit.skipSuccessful === true;
}

function claimsOf(found: readonly { readonly limit: NamedLimit; readonly key: string }[]): readonly SlotClaim[] {
  return found.flatMap(({ limit, key }) => (isConcurrency(limit) ? [{ rule: limit, key }] : []));
}

function costOf({ cost = 1, name }: NamedRequestLimit, request: RpcRequest, context: RpcContext): number {
  if (typeof cost === 'number') return cost;
  const points = cost(request, context);
  if (Number.isSafeInteger(points) && points >= 0) return points;
  throw new RpcError('internal_error', 'Internal error', {
    cause: new TypeError(`The cost of limit '${name}' is no integer from 0 on: ${points}`),
  });
}

function auditEvent(request: RpcRequest, context: RpcContext, time: number, reason: string): AuditEvent {
  const { name } = request.params;
  const target = request.method === 'tools/call' && typeof name === 'string' ? name : request.method;
  const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(context.trace?.traceparent ?? '')?.[1];
  return {
    type: 'rate.limited',
    time,
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
