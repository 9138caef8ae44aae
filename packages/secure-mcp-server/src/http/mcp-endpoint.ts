import type { IncomingHttpHeaders } from 'node:http';
import {
  type Clock,
  eraOf,
  isJsonRpcRequest,
  isRpcError,
  type JsonRpcMessage,
  type JsonRpcRequest,
  type ListenerHost,
  principalKey,
  RpcError,
  type RpcService,
  type WireError,
} from '@mcp-blocks/core';
import {
  authorizeListen,
  type Connection,
  FastLane,
  type LaneAnswer,
  type LaneCall,
  type LaneCarrier,
  type ModernRequest,
  toAuthInfo,
  toSdkFactory,
} from '@mcp-blocks/core/sdk';
import { createMcpHandler, isLegacyRequest, type McpHttpHandler } from '@modelcontextprotocol/server';
import { isEventStream } from './node-web.js';
import { HttpRefusal, refusalResponse } from './refusal.js';
import { LegacySessions, type ResolvedSessionOptions } from './sessions.js';

/** What came of a request. */
export interface McpAnswer {
  readonly response: Response;
  /**
   * `call` ends by itself with its result; `subscription` stays open until somebody ends it, and with the
   * credentials it was opened with.
   */
  readonly kind: 'call' | 'subscription';
  /** Epoch milliseconds at which a subscription ends, whoever wants to go on. */
  readonly expiresAt?: number;
  /** To be called when the response has been sent. */
  release?(): void;
}

/** Bounds of {@link McpEndpoint}. */
export interface McpEndpointOptions {
  readonly sessions: ResolvedSessionOptions;
  readonly maxSubscriptionsPerPrincipal: number;
}

/** One MCP endpoint as a function from web requests, authenticated and parsed, to web responses. Both eras. */
export class McpEndpoint {
  readonly #service: RpcService;
  readonly #lane: FastLane;
  /** Calls on the fast lane in progress. */
  readonly #calls = new Set<LaneCall>();
  #isClosed = false;
  readonly #modern: McpHttpHandler;
  readonly #sessions: LegacySessions;
  readonly #onError: (error: Error) => void;
  /** Open streams by principal. */
  readonly #subscriptions = new Map<string, number>();
  readonly #maxSubscriptions: number;
  #lastSdkError: Error | undefined;

  constructor(host: ListenerHost, options: McpEndpointOptions, clock: Clock) {
    const { service } = host;
    this.#service = service;
    this.#lane = new FastLane(service);
    this.#onError = (error) => host.onError(error);
    this.#sessions = new LegacySessions(service, options.sessions, clock, {
      onError: this.#onError,
      onEnded: (session) => host.sessionEnded?.(session),
    });
    this.#maxSubscriptions = options.maxSubscriptionsPerPrincipal;
    this.#modern = createMcpHandler(toSdkFactory(service), {
      legacy: 'reject',
      // Its own bound is on all callers together, so that one could keep the others out. Ours is on each.
      maxSubscriptions: Number.POSITIVE_INFINITY,
      // The service publishes its events itself.
      bus: { publish: () => {}, subscribe: (listener) => service.events?.subscribe(listener) ?? (() => {}) },
      // Called for every refused request too, which is the caller's mistake and no error of ours.
      onerror: (error) => {
        this.#lastSdkError = error;
      },
    });
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** The request, if it is one for the fast lane; nothing has been done with it. */
  admit(message: JsonRpcMessage, connection: Connection, headers: IncomingHttpHeaders): ModernRequest | undefined {
    return this.#isClosed ? undefined : this.#lane.admit(message, connection, headers);
  }

  /**
   * Answers an admitted request; `undefined` when the client is gone or the endpoint is closed meanwhile.
   *
   * @param started - told of the call, to be cancelled when the client is gone.
   */
  async call(
    request: ModernRequest,
    connection: Connection,
    carrier: LaneCarrier,
    started: (call: LaneCall) => void,
  ): Promise<LaneAnswer | undefined> {
    const call = this.#lane.call(request, connection, carrier);
    started(call);
    this.#calls.add(call);
    try {
      return await call.answer;
    } finally {
      this.#calls.delete(call);
    }
  }

  async handle(request: Request, message: JsonRpcMessage | undefined, connection: Connection): Promise<McpAnswer> {
    const opensStream = request.method === 'GET' || (message !== undefined && isListenRequest(message));
    const subscription = new AbortController();
    if (!opensStream) return this.#answer(request, message, connection, subscription.signal);
    const leaveCount = this.#subscribe(principalKey(connection.principal));
    const leave = () => {
      leaveCount();
      subscription.abort();
    };
    try {
      const answer = await this.#answer(request, message, connection, subscription.signal);
      const release = () => {
        leave();
        answer.release?.();
      };
      return { ...answer, release };
    } catch (error) {
      leave();
      throw error;
    }
  }

  #subscribe(principal: string): () => void {
    const open = this.#subscriptions.get(principal) ?? 0;
    if (open >= this.#maxSubscriptions) {
      const message = `You hold ${this.#maxSubscriptions} open streams, the most there may be (maxSubscriptionsPerPrincipal)`;
      throw new HttpRefusal(429, 'rate_limited', message, { 'retry-after': '60' });
    }
    this.#subscriptions.set(principal, open + 1);
    return () => {
      const left = (this.#subscriptions.get(principal) ?? 1) - 1;
      if (left === 0) this.#subscriptions.delete(principal);
      else this.#subscriptions.set(principal, left);
    };
  }

  async #answer(
    request: Request,
    message: JsonRpcMessage | undefined,
    connection: Connection,
    subscription: AbortSignal,
  ): Promise<McpAnswer> {
    if (message === undefined) {
      const version = request.headers.get('mcp-protocol-version');
      if (version !== null && /^\d{4}-\d\d-\d\d$/.test(version) && eraOf(version) === 'modern') {
        throw new HttpRefusal(405, 'invalid_request', 'Since 2026-07-28 the endpoint has only POST', { allow: 'POST' });
      }
      const answer = await this.#sessions.handle(request, undefined, connection);
      return { ...answer, kind: 'subscription' };
    }
    try {
      if (!(await isLegacyRequest(request, message))) return await this.#handleModern(request, message, connection, subscription);
      return { ...(await this.#sessions.handle(request, message, connection)), kind: 'call' };
    } catch (error) {
      if (!isRpcError(error)) throw error;
      return { response: refusalResponse(error, isJsonRpcRequest(message) ? message.id : null), kind: 'call' };
    }
  }

  /** Ends subscriptions with their closing result, and sessions. Calls in progress are cancelled. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const call of this.#calls) call.cancel(new RpcError('cancelled', 'The server is shutting down'));
    await Promise.all([this.#modern.close(), this.#sessions.close()]);
  }

  async #handleModern(request: Request, message: JsonRpcMessage, connection: Connection, subscription: AbortSignal): Promise<McpAnswer> {
    const id = isJsonRpcRequest(message) ? message.id : null;
    const isListen = isListenRequest(message);
    if (isListen) {
      try {
        await authorizeListen(this.#service, message.params, connection, request.signal, subscription);
      } catch (error) {
        return { response: refusalResponse(error, id), kind: 'call' };
      }
    }
    let failure: WireError | undefined;
    const headers = new Headers();
    const observed: Connection = {
      ...connection,
      onFailure: (error) => (failure = error),
      addResponseHeader: (name, value) => headers.append(name, value),
    };
    const response = await this.#modern.fetch(request, { parsedBody: message, authInfo: toAuthInfo(observed) });
    if (response.status === 499 && !request.signal.aborted) {
      // The exchange was cut while the server closes, and the caller is still there.
      return { response: shuttingDown(id), kind: 'call' };
    }
    if (response.status >= 500 && this.#lastSdkError !== undefined) this.#onError(this.#lastSdkError);
    return {
      response: withOutcome(response, headers, isEventStream(response) ? undefined : failure),
      kind: isListen && isEventStream(response) ? 'subscription' : 'call',
    };
  }
}

/** The answer to a request that was cut while the server closes, and whose caller is still there. */
export function shuttingDown(id: string | number | null): Response {
  return refusalResponse(new RpcError('unavailable', 'The server is shutting down'), id);
}

function isListenRequest(message: JsonRpcMessage): message is JsonRpcRequest {
  return isJsonRpcRequest(message) && message.method === 'subscriptions/listen';
}

/**
 * Adds what middleware and handlers had to say. The SDK answers what a handler throws with 200; status and
 * headers of our code say more.
 */
function withOutcome(response: Response, added: Headers, failure: WireError | undefined): Response {
  const extra = [...added];
  if (failure === undefined && extra.length === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of [...extra, ...Object.entries(failure?.headers ?? {})]) headers.set(name, value);
  const status = failure === undefined || failure.httpStatus === 200 ? response.status : failure.httpStatus;
  return new Response(response.body, { status, headers });
}
