import { Events, isJsonObject, type JsonObject, META, type ProtocolEra, RpcError, type RpcResult } from '@mcp-blocks/core';
import type {
  CallToolResult,
  GetPromptResult,
  ListPromptsResult,
  ListResourcesResult,
  ListResourceTemplatesResult,
  ListToolsResult,
  ReadResourceResult,
} from '@modelcontextprotocol/client';
import { backoffDelay } from './backoff.js';
import { checkRequestOptions, type MCPClientConfig, type RequestOptions, type ResolvedConfig, resolveConfig } from './config.js';
import type { Answer, Connection } from './connection.js';
import { ConnectionManager, type ConnectionState } from './connection-manager.js';
import { networkConnectors } from './connectors.js';
import { HealthCheck } from './health-check.js';
import { KeepAlive } from './keep-alive.js';
import { CallCounter, LatencyMeter, type MCPClientMetrics } from './metrics.js';
import { RequestScheduler } from './request-scheduler.js';
import { type CacheStats, ResponseCache } from './response-cache.js';
import { ToolHints } from './retry-policy.js';
import { SingleFlight } from './single-flight.js';
import { TokenSource } from './token-source.js';

/** How the client is connected. */
export interface ConnectionStatus {
  readonly state: ConnectionState;
  /** `websocket`, `http` or a custom connector's name; `null` while there is no connection. */
  readonly transport: string | null;
  /** The protocol era spoken; `null` while there is no connection. */
  readonly era: ProtocolEra | null;
  /** Moving average of round trips in milliseconds; `null` before the first. */
  readonly latency: number | null;
  /** The newest reason for a failed or lost connection. */
  readonly lastError?: Error;
  /** Failed rounds of attempts since the connection was lost; 0 while connected. */
  readonly reconnectAttempts: number;
}

/** What listeners of {@link MCPClientPattern.on} are given. */
export interface MCPClientEvents {
  /** The state or the transport has changed. */
  statusChange: ConnectionStatus;
  /**
   * Trouble worth a line in a log: of the transport, of a subscription, of a listener. What made a request
   * fail may show here too.
   */
  error: Error;
  /** Any notification of the server, the cache already updated by it. */
  notification: { readonly method: string; readonly params: JsonObject };
}

/**
 * An MCP client that keeps working: WebSocket first and HTTP while there is none, reconnecting, with a
 * priority queue and a cache in front. Speaks both protocol eras through the official SDK's client.
 *
 * Requests made while there is no connection wait for one. When a connection is lost, requests that read
 * or are declared idempotent are sent again; a tool call that may have arrived is not, and fails with
 * `ambiguous_outcome`. Every tool call carries `_meta["io.mcp-blocks/idempotencyKey"]`, the same however
 * often it is sent, by which a server may recognise a repetition.
 */
export class MCPClientPattern {
  readonly #config: ResolvedConfig;
  readonly #manager: ConnectionManager;
  readonly #scheduler: RequestScheduler;
  readonly #cache: ResponseCache;
  readonly #flights: SingleFlight<Answer>;
  readonly #health: HealthCheck | undefined;
  readonly #events: Events<MCPClientEvents>;
  readonly #hints = new ToolHints();
  readonly #calls = new CallCounter();
  readonly #latency = new LatencyMeter();
  readonly #keepAlive = new KeepAlive();
  #seen: { readonly state: ConnectionState; readonly connection: Connection | undefined } = {
    state: 'disconnected',
    connection: undefined,
  };
  #hadConnection = false;

  /** @throws ConfigurationError naming the option that is wrong. */
  constructor(config: MCPClientConfig) {
    const resolved = resolveConfig(config);
    const { clock, random, reconnectOptions } = resolved;
    this.#config = resolved;
    this.#events = new Events((error, event) => {
      if (event !== 'error') this.#report(error);
    });
    this.#cache = new ResponseCache({ ...resolved.cacheOptions, clock });
    this.#flights = new SingleFlight(clock);
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
      tokens: new TokenSource(resolved.credentials?.token),
      clock,
      reconnect: resolved.enableReconnection,
      maxAttempts: reconnectOptions.maxAttempts,
      connectTimeoutMs: resolved.connectTimeout,
      stableAfterMs: reconnectOptions.initialDelay,
      retryDelay,
      events: {
        onNotification: (method, params) => this.#notified(method, params),
        onGap: () => this.#cache.missedNotifications(),
        onError: (error) => this.#report(error),
      },
      onChange: () => this.#changed(),
    });
    const answered = (roundTripMs: number) => this.#latency.record(roundTripMs);
    const lost = (connection: Connection, error: Error) => this.#manager.lost(connection, error);
    this.#scheduler = new RequestScheduler({
      maxConcurrent: resolved.maxConcurrentRequests,
      queueLimit: resolved.queueLimit,
      clock,
      route: {
        connection: () => this.#manager.connection,
        refusal: () => this.#refusal(),
        lost,
        renew: (connection) => this.#manager.renew(connection),
        mayRepeat: (method, params) => this.#hints.mayRepeat(method, params),
        answered,
      },
    });
    if (resolved.healthCheckInterval > 0) {
      this.#health = new HealthCheck({
        intervalMs: resolved.healthCheckInterval,
        timeoutMs: resolved.requestTimeout,
        clock,
        connection: () => this.#manager.connection,
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
   * @throws ConfigurationError for an option out of range. RpcError `timeout`; `cancelled`; `unavailable`
   * when the queue is full or the client has given up connecting; `unauthenticated`; `ambiguous_outcome`
   * when a tool call was cut off; or the server's error, its number in `jsonRpcCode`.
   */
  async request(method: string, params: JsonObject = {}, options: RequestOptions = {}): Promise<RpcResult> {
    checkRequestOptions(options);
    this.#calls.started();
    try {
      return await this.#keepAlive.during(this.#answer(method, params, options));
    } catch (error) {
      this.#calls.failed();
      throw error;
    }
  }

  callTool(name: string, args: JsonObject = {}, options?: RequestOptions): Promise<CallToolResult> {
    return this.request('tools/call', { name, arguments: args }, options) as Promise<unknown> as Promise<CallToolResult>;
  }

  listTools(options?: RequestOptions): Promise<ListToolsResult> {
    return this.request('tools/list', {}, options) as Promise<unknown> as Promise<ListToolsResult>;
  }

  listResources(options?: RequestOptions): Promise<ListResourcesResult> {
    return this.request('resources/list', {}, options) as Promise<unknown> as Promise<ListResourcesResult>;
  }

  listResourceTemplates(options?: RequestOptions): Promise<ListResourceTemplatesResult> {
    return this.request('resources/templates/list', {}, options) as Promise<unknown> as Promise<ListResourceTemplatesResult>;
  }

  readResource(uri: string, options?: RequestOptions): Promise<ReadResourceResult> {
    return this.request('resources/read', { uri }, options) as Promise<unknown> as Promise<ReadResourceResult>;
  }

  listPrompts(options?: RequestOptions): Promise<ListPromptsResult> {
    return this.request('prompts/list', {}, options) as Promise<unknown> as Promise<ListPromptsResult>;
  }

  getPrompt(name: string, args: Readonly<Record<string, string>> = {}, options?: RequestOptions): Promise<GetPromptResult> {
    return this.request('prompts/get', { name, arguments: { ...args } }, options) as Promise<unknown> as Promise<GetPromptResult>;
  }

  getConnectionStatus(): ConnectionStatus {
    const { state, transport, connection, lastError, reconnectAttempts } = this.#manager;
    return {
      state,
      transport,
      era: connection?.era ?? null,
      latency: this.#latency.value,
      ...(lastError === undefined ? {} : { lastError }),
      reconnectAttempts,
    };
  }

  getMetrics(): MCPClientMetrics {
    const { reconnects, fallbacks } = this.#manager;
    const { active, queued } = this.#scheduler;
    return this.#calls.snapshot({ activeRequests: active, queuedRequests: queued, reconnects, fallbacks });
  }

  getCacheStats(): CacheStats {
    return this.#cache.stats();
  }

  clearCache(): void {
    this.#cache.clear();
  }

  /** Listens for an event; returns the function that ends the subscription. */
  on<E extends keyof MCPClientEvents>(event: E, listener: (payload: MCPClientEvents[E]) => void): () => void {
    return this.#events.on(event, listener);
  }

  /** Fails what waits with `cancelled` and ends the connection, its timers and subscriptions. May be called twice. */
  async close(): Promise<void> {
    this.#health?.stop();
    this.#scheduler.failAll(new RpcError('cancelled', 'The client has been closed'));
    await this.#manager.close();
    this.#cache.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #answer(method: string, params: JsonObject, options: RequestOptions): Promise<RpcResult> {
    const { clock, enableCaching, requestTimeout } = this.#config;
    const startedAt = clock.now();
    // What a listener of progress hears is its own request's.
    const cacheable = enableCaching && options.onProgress === undefined;
    const key = cacheable ? ResponseCache.key(method, params, options, (name) => this.#hints.isReadOnly(name)) : undefined;
    if (key === undefined) {
      const { result } = await this.#send(method, params, options, options.timeout ?? requestTimeout, options.signal);
      this.#calls.succeeded(clock.now() - startedAt);
      return result;
    }
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      this.#calls.shared('cache');
      this.#calls.succeeded();
      return cached;
    }
    const generation = this.#cache.generation(method);
    const waiter = { timeoutMs: options.timeout ?? requestTimeout, signal: options.signal, what: method };
    const { value, joined } = await this.#flights.run(key, generation, waiter, (signal) =>
      this.#send(method, params, options, undefined, signal),
    );
    if (joined) {
      this.#calls.shared('flight');
      this.#calls.succeeded();
      return structuredClone(value.result);
    }
    if (!value.interactive) this.#cache.set(key, method, params, value.result, value.era, options, generation);
    this.#calls.succeeded(clock.now() - startedAt);
    return value.result;
  }

  async #send(
    method: string,
    params: JsonObject,
    { priority = 0, onProgress }: RequestOptions,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    if (this.#manager.state === 'disconnected' && !this.#manager.gaveUp) this.#manager.connect().catch(() => {});
    const sent = method === 'tools/call' ? this.#withIdempotencyKey(params) : params;
    const answer = await this.#scheduler.submit({ method, params: sent, priority, timeoutMs, signal, onProgress });
    if (method === 'tools/list') this.#hints.learn(answer.result, params.cursor !== undefined);
    return answer;
  }

  /** A key of the caller's own stays: it may name an effect begun before this process was. */
  #withIdempotencyKey(params: JsonObject): JsonObject {
    const meta = isJsonObject(params._meta) ? params._meta : {};
    return { ...params, _meta: { [META.idempotencyKey]: this.#config.newId(), ...meta } };
  }

  #refusal(): RpcError | undefined {
    const { state, gaveUp, lastError } = this.#manager;
    if (state === 'closed') return new RpcError('cancelled', 'The client has been closed');
    if (!gaveUp) return undefined;
    const reason = lastError?.message ?? 'the connection was lost';
    if (lastError instanceof RpcError && lastError.code === 'unauthenticated')
      return new RpcError('unauthenticated', reason, { cause: lastError });
    return new RpcError('unavailable', `Not connected: ${reason}`, { cause: lastError });
  }

  #notified(method: string, params: JsonObject): void {
    this.#cache.notified(method, params);
    if (method === 'notifications/tools/list_changed') this.#hints.forget();
    this.#events.emit('notification', { method, params });
  }

  #changed(): void {
    const { state, connection } = this.#manager;
    const changed = state !== this.#seen.state || connection !== this.#seen.connection;
    if (connection !== undefined && connection !== this.#seen.connection) {
      if (this.#hadConnection) this.#cache.missedNotifications();
      this.#hadConnection = true;
      this.#health?.start();
    }
    this.#seen = { state, connection };
    if (changed) this.#events.emit('statusChange', this.getConnectionStatus());
    this.#scheduler.pump();
  }

  #report(error: Error): void {
    this.#events.emit('error', error);
    this.#config.onError?.(error);
  }
}
