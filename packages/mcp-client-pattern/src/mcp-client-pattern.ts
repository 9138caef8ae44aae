import { ConfigurationError, Events, isJsonObject, type JsonObject, META, RpcError, type RpcResult } from '@mcp-blocks/core';
import { clientTokens } from './auth/client-tokens.js';
import { backoffDelay } from './backoff.js';
import { type BatchItem, type BatchResult, runBatch } from './batch.js';
import { CachePartitions } from './cache-partitions.js';
import { CacheStore } from './cache-store.js';
import { CachedRequests } from './cached-requests.js';
import { ClientStatus } from './client-status.js';
import {
  checkRequestOptions,
  type MCPClientConfig,
  NO_OPTIONS,
  type RequestOptions,
  type ResolvedConfig,
  resolveConfig,
} from './config.js';
import type { Connection } from './connection.js';
import { ConnectionManager } from './connection-manager.js';
import { networkConnectors } from './connectors.js';
import type { ConnectionStatus, MCPClientEvents } from './events.js';
import { HealthMonitor } from './health-monitor.js';
import { KeepAlive } from './keep-alive.js';
import { CallCounter, type MCPClientMetrics } from './metrics.js';
import { type Delivery, RequestScheduler, type ScheduledRequest } from './request-scheduler.js';
import { type ResourceListener, ResourceSubscriptions } from './resource-subscriptions.js';
import { type CacheableRequest, type CacheStats, ResponseCache } from './response-cache.js';
import { RetryPolicy } from './retry-policy.js';
import { ServerChanges } from './server-changes.js';
import { matcher } from './text-pattern.js';
import { ToolHints } from './tool-hints.js';
import { TypedRequests } from './typed-requests.js';

/**
 * An MCP client that keeps working: WebSocket first and HTTP while there is none, reconnecting, with a
 * priority queue and a cache in front. Speaks both protocol eras through the official SDK's client.
 *
 * Requests made while there is no connection wait for one. When a connection is lost, requests that read
 * or are declared idempotent are sent again; a tool call that may have arrived is not, and fails with an
 * AmbiguousOutcomeError. Every tool call carries `_meta["io.mcp-blocks/idempotencyKey"]`, the same however
 * often it is sent, by which a server may recognise a repetition.
 */
export class MCPClientPattern extends TypedRequests {
  readonly #config: ResolvedConfig;
  readonly #manager: ConnectionManager;
  readonly #scheduler: RequestScheduler;
  readonly #cache: ResponseCache;
  readonly #cached: CachedRequests;
  readonly #monitor: HealthMonitor | undefined;
  readonly #status: ClientStatus;
  readonly #events: Events<MCPClientEvents>;
  readonly #subscriptions: ResourceSubscriptions;
  readonly #changes: ServerChanges;
  readonly #hints = new ToolHints();
  readonly #calls = new CallCounter();
  readonly #keepAlive = new KeepAlive();

  /** @throws ConfigurationError naming the option that is wrong. */
  constructor(config: MCPClientConfig) {
    super();
    const resolved = resolveConfig(config);
    const { clock, random, reconnectOptions, cacheOptions, retryOptions } = resolved;
    this.#config = resolved;
    this.#events = new Events((error, event) => {
      if (event !== 'error') this.#report(error);
    });
    const retryDelay = (failures: number) => backoffDelay(failures, reconnectOptions, random);
    const connectors = (resolved.connectors ?? networkConnectors)({
      httpUrl: resolved.httpUrl,
      webSocketUrl: resolved.webSocketUrl,
      enableWebSocket: resolved.enableWebSocket,
      enableHttpFallback: resolved.enableHttpFallback,
      allowInsecure: resolved.allowInsecure,
      connectTimeoutMs: resolved.connectTimeout,
      protocol: {
        clientInfo: resolved.clientInfo,
        capabilities: resolved.capabilities,
        versionNegotiation: resolved.versionNegotiation,
        configureClient: resolved.configureClient,
        clock,
        retryDelay,
      },
    });
    this.#manager = new ConnectionManager({
      connectors,
      tokens: clientTokens(resolved),
      clock,
      reconnect: resolved.enableReconnection,
      maxAttempts: reconnectOptions.maxAttempts,
      connectTimeoutMs: resolved.connectTimeout,
      stableAfterMs: reconnectOptions.initialDelay,
      retryDelay,
      events: {
        onNotification: (method, params) => {
          this.#monitor?.heard();
          this.#changes.notified(method, params);
        },
        onGap: () => this.#changes.gap(),
        onError: (error) => this.#report(error),
      },
      onChange: () => {
        this.#status.changed();
        this.#scheduler.pump();
      },
    });
    this.#status = new ClientStatus({
      manager: this.#manager,
      degradedLatencyMs: resolved.degradedLatencyMs,
      events: this.#events,
      onConnected: () => {
        this.#monitor?.connected();
        this.#changes.connected();
      },
    });
    const store = cacheOptions.store ?? new CacheStore({ maxSize: cacheOptions.maxSize, maxBytes: cacheOptions.maxBytes });
    this.#cache = new ResponseCache({
      store,
      server: resolved.httpUrl.href,
      defaultTTL: cacheOptions.defaultTTL,
      staleIfErrorMs: cacheOptions.staleIfErrorMs,
      clock,
      onEvent: (event) => this.#events.emit('cache', event),
    });
    this.#cached = new CachedRequests({
      cache: this.#cache,
      calls: this.#calls,
      clock,
      partitions: new CachePartitions({ store, manager: this.#manager, partition: cacheOptions.partition }),
    });
    this.#subscriptions = new ResourceSubscriptions({
      clock,
      timeoutMs: resolved.requestTimeout,
      connect: () => this.connect(),
      connection: () => this.#manager.connection,
      onChange: (change) => this.#events.emit('resourceUpdated', change),
      onError: (error) => this.#report(error),
    });
    this.#changes = new ServerChanges({ cache: this.#cache, hints: this.#hints, subscriptions: this.#subscriptions, events: this.#events });
    const answered = (roundTripMs?: number) => this.#answered(roundTripMs);
    const lost = (connection: Connection, error: Error, dead?: boolean) => this.#manager.lost(connection, error, dead);
    this.#scheduler = new RequestScheduler({
      maxConcurrent: resolved.maxConcurrentRequests,
      queueLimit: resolved.queueLimit,
      ageingMs: resolved.priorityAgeingMs,
      clock,
      retries: new RetryPolicy({ ...retryOptions, clock, random }),
      route: {
        connection: () => this.#manager.connection,
        refusal: () => this.#manager.refusal,
        lost,
        renew: (connection, error) => this.#manager.renew(connection, error),
        widen: (connection, error) => this.#manager.widen(connection, error),
        mayRepeat: (method, params) => this.#hints.mayRepeat(method, params),
        sent: () => this.#monitor?.sent(),
        answered,
        fastestAnswerMs: () => this.#status.latency.fastest,
        retried: (retry) => {
          this.#calls.retried();
          this.#events.emit('retry', retry);
        },
        ambiguous: (error) => {
          this.#calls.ambiguous();
          this.#events.emit('ambiguousOutcome', error);
        },
        queueFull: (queued) => this.#events.emit('queueFull', { method: queued, queueLimit: resolved.queueLimit }),
      },
    });
    if (resolved.healthCheckInterval > 0) {
      this.#monitor = new HealthMonitor({
        intervalMs: resolved.healthCheckInterval,
        timeoutMs: resolved.healthCheckTimeoutMs,
        clock,
        connection: () => this.#manager.connection,
        outstanding: () => this.#scheduler.active,
        lost,
        answered,
      });
    }
  }

  /**
   * Connects; resolves when connected, at once if so. The first request does it too.
   *
   * @throws RpcError `unauthenticated` when the server refuses the credentials, `unavailable` when no
   * connection could be made in `maxAttempts` attempts, `cancelled` when the client is closed.
   */
  connect(): Promise<void> {
    return this.#keepAlive.during(this.#manager.connect());
  }

  /** Connects anew, also after the client has given up. Requests in progress are finished first. Throws as {@link MCPClientPattern.connect}. */
  reconnect(): Promise<void> {
    return this.#keepAlive.during(this.#manager.reconnect());
  }

  /**
   * Sends a request. A list without `cursor` is read to its end.
   *
   * @throws ConfigurationError for an option out of range. RpcError `timeout` when there was no answer in time
   * and nothing can have happened that a repetition would make worse; `cancelled`; `unavailable` when the queue
   * is full or the client has given up connecting; `unauthenticated`; AmbiguousOutcomeError when it was sent, no
   * answer came and it may not be repeated; or the server's error, its number in `jsonRpcCode`.
   */
  async request(method: string, params: JsonObject = {}, options: RequestOptions = NO_OPTIONS): Promise<RpcResult> {
    checkRequestOptions(options);
    this.#calls.started();
    try {
      const cacheable = this.#cacheable(method, params, options);
      const cached = cacheable === undefined ? undefined : this.#cached.get(cacheable);
      return cached ?? (await this.#fetch(method, params, options, cacheable));
    } catch (error) {
      this.#calls.failed();
      throw error;
    }
  }

  /**
   * Makes many requests, `concurrency` at a time (default: `maxConcurrentRequests`), and resolves with what
   * became of each, in their order. It rejects for none that failed. Identical reads in progress are sent
   * once; on the wire each request is a message of its own, as MCP has it since 2025-06-18.
   *
   * @throws ConfigurationError when `concurrency` is no integer from 1 to 10,000.
   */
  async batchCall(items: readonly BatchItem[], { concurrency }: { readonly concurrency?: number } = {}): Promise<readonly BatchResult[]> {
    const lanes = concurrency ?? this.#config.maxConcurrentRequests;
    if (!Number.isInteger(lanes) || lanes < 1 || lanes > 10_000)
      throw new ConfigurationError('concurrency', `expected an integer from 1 to 10000, got ${lanes}`);
    return runBatch(items, lanes, (method, params, options) => this.request(method, params, options));
  }

  /**
   * Tells a listener of a resource's changes, over whatever connections there will be, and of times in which some
   * may have been missed. Resolves, when the server has agreed, with the function that ends it.
   *
   * @throws RpcError `method_not_found` when the server has no subscriptions, or another error of its own.
   */
  subscribe(uri: string, listener: ResourceListener): Promise<() => Promise<void>> {
    return this.#subscriptions.subscribe(uri, listener);
  }

  /** Ends a subscription of one listener, or of all. */
  unsubscribe(uri: string, listener?: ResourceListener): Promise<void> {
    return this.#subscriptions.unsubscribe(uri, listener);
  }

  getConnectionStatus(): ConnectionStatus {
    return this.#status.snapshot();
  }

  getMetrics(): MCPClientMetrics {
    const { reconnects, fallbacks } = this.#manager;
    const { active, queued } = this.#scheduler;
    const latencyPercentiles = this.#status.latency.percentiles();
    return this.#calls.snapshot({ activeRequests: active, queuedRequests: queued, reconnects, fallbacks, latencyPercentiles });
  }

  getCacheStats(): CacheStats {
    return this.#cache.stats();
  }

  /**
   * Forgets cached results of this server.
   *
   * @param pattern - which: matched against the method, followed for a resource, tool or prompt by a space and
   * its URI or name, such as `tools/list` or `resources/read file:///a`. In text, `*` stands for anything.
   * Default: all.
   */
  clearCache(pattern: string | RegExp = '*'): void {
    this.#cache.clear(matcher(pattern));
  }

  /** Listens for an event; returns the function that ends the subscription. */
  on<E extends keyof MCPClientEvents>(event: E, listener: (payload: MCPClientEvents[E]) => void): () => void {
    return this.#events.on(event, listener);
  }

  /** Fails what waits with `cancelled` and ends the connection, its timers and subscriptions. May be called twice. */
  async close(): Promise<void> {
    this.#monitor?.stop();
    this.#subscriptions.close();
    this.#scheduler.failAll(new RpcError('cancelled', 'The client has been closed'));
    this.#keepAlive.close();
    await this.#manager.close();
    // What is shared may be of use to others.
    if (this.#config.cacheOptions.store === undefined) this.#cache.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #cacheable(method: string, params: JsonObject, options: RequestOptions): CacheableRequest | undefined {
    // What a listener of progress hears is its own request's; a closed client answers nothing.
    if (!this.#config.enableCaching || options.onProgress !== undefined || this.#manager.state === 'closed') return undefined;
    return ResponseCache.cacheable(method, params, options, (name) => this.#hints.isReadOnly(name));
  }

  async #fetch(method: string, params: JsonObject, options: RequestOptions, cacheable: CacheableRequest | undefined): Promise<RpcResult> {
    const timeoutMs = options.timeout ?? this.#config.requestTimeout;
    if (cacheable !== undefined)
      return this.#cached.fetch(cacheable, options, timeoutMs, (signal, onInput) =>
        this.#send(method, params, options, { signal, onInput }),
      );
    const startedAt = this.#config.clock.now();
    const { answer } = await this.#send(method, params, options, { timeoutMs, signal: options.signal });
    this.#calls.succeeded(answer.interactive ? undefined : this.#config.clock.now() - startedAt);
    return answer.result;
  }

  async #send(
    method: string,
    params: JsonObject,
    { priority = 0, fairnessKey = '', repeatable, onProgress }: RequestOptions,
    waiter: Pick<ScheduledRequest, 'timeoutMs' | 'signal' | 'onInput'>,
  ): Promise<Delivery> {
    if (this.#manager.state === 'disconnected' && !this.#manager.gaveUp) this.#manager.connect().catch(() => {});
    const sent = method === 'tools/call' ? this.#withIdempotencyKey(params) : params;
    this.#keepAlive.begin();
    try {
      const delivery = await this.#scheduler.submit({ method, params: sent, priority, fairnessKey, repeatable, onProgress, ...waiter });
      if (method === 'tools/list') this.#hints.learn(delivery.answer.result, params.cursor !== undefined);
      return delivery;
    } finally {
      this.#keepAlive.end();
    }
  }

  #answered(roundTripMs: number | undefined): void {
    this.#monitor?.heard();
    if (roundTripMs !== undefined) this.#status.answered(roundTripMs);
  }

  /** A key of the caller's own stays: it may name an effect begun before this process was. */
  #withIdempotencyKey(params: JsonObject): JsonObject {
    const meta = isJsonObject(params._meta) ? params._meta : {};
    return { ...params, _meta: { [META.idempotencyKey]: this.#config.newId(), ...meta } };
  }

  #report(error: Error): void {
    this.#events.emit('error', error);
    this.#config.onError?.(error);
  }
}
