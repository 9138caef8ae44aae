import {
  type AuditEvent,
  type AuditSink,
  type Authenticator,
  type Caller,
  type Clock,
  ConfigurationError,
  compose,
  Events,
  type Listener,
  type ListenerHost,
  type RpcMiddleware,
  type RpcService,
  systemClock,
} from '@mcp-blocks/core';
import { AuthenticationChain } from './authentication.js';
import { settledWithin } from './deadline.js';
import { HttpListener } from './http/listener.js';
import { resolveLimits, type ServerLimits } from './limits.js';
import type { MetricsSource, ServerMetrics } from './metrics-page.js';
import { OAuthResourceServer } from './oauth/resource-server.js';
import { type RefusalAuditOptions, RefusalDamper } from './refusal-damper.js';
import { RequestMonitor } from './request-monitor.js';
import { requestTimeout } from './request-timeout.js';
import type { ServerEvents, ServerStatus } from './server-events.js';

/** Options of {@link SecureMCPServer}. */
export interface SecureMCPServerOptions {
  /** What is served: a registry, a gateway, `hostSdkServer(...)`, `hostSdkV1Server(...)`, or `{ info, handler }`. */
  readonly service: RpcService;
  /** Wrapped around the service; the first one sees a request first. Default: none. */
  readonly middleware?: readonly RpcMiddleware[];
  /** Asked in turn who is calling. Required, unless `allowAnonymous`. */
  readonly authenticators?: readonly Authenticator[];
  /** Lets callers in who present no credentials. Those who present wrong ones are refused all the same. Default: false. */
  readonly allowAnonymous?: boolean;
  /** At least one. */
  readonly listeners: readonly Listener[];
  /** Takes security events. The server does not close it. Default: they are not recorded. */
  readonly audit?: AuditSink;
  /** Bounds what refusals of unknown callers write to the trail. */
  readonly refusalAudit?: RefusalAuditOptions;
  readonly limits?: ServerLimits;
  readonly clock?: Clock;
  /** Told of failures whose details no caller gets. Default: one line and the stack on stderr. */
  readonly onError?: (error: Error) => void;
}

/** Serves one service over several listeners, to authenticated callers, within limits. */
export class SecureMCPServer {
  readonly #listeners: readonly Listener[];
  readonly #clock: Clock;
  readonly #events = new Events<ServerEvents>();
  readonly #monitor: RequestMonitor;
  readonly #audit: RefusalDamper;
  readonly #name: string;
  readonly #host: ListenerHost & { readonly metricsSource: MetricsSource };
  #status: ServerStatus = 'created';
  #startedAt = 0;
  #authFailures = 0;
  #connections = 0;
  #starting: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  /** @throws ConfigurationError for options that are missing, out of range or contradict each other. */
  constructor(options: SecureMCPServerOptions) {
    const { audit, listeners, authenticators = [], allowAnonymous = false, clock = systemClock } = options;
    if (listeners.length === 0) throw new ConfigurationError('listeners', 'expected at least one');
    if (listeners.filter(({ name }) => name === 'stdio').length > 1) {
      throw new ConfigurationError('listeners', 'stdio can be used once; a process has one standard input');
    }
    if (authenticators.length === 0 && !allowAnonymous) {
      throw new ConfigurationError('authenticators', 'expected at least one, or allowAnonymous: true to let everybody in');
    }
    const [resource, ...others] = authenticators.filter((authenticator) => authenticator instanceof OAuthResourceServer);
    if (others.length > 0) throw new ConfigurationError('authenticators', 'expected at most one OAuth resource server');
    const limits = resolveLimits(options.limits);
    this.#listeners = listeners;
    this.#clock = clock;
    const onError = (error: Error) => {
      this.#events.emit('error', error);
      (options.onError ?? writeToStderr)(error);
    };
    const write = (event: AuditEvent) => {
      this.#events.emit('securityEvent', event);
      try {
        audit?.record(event);
      } catch (error) {
        onError(error as Error);
      }
    };
    this.#audit = new RefusalDamper(write, clock, options.refusalAudit);
    const record = (event: AuditEvent) => this.#audit.record(event);
    this.#monitor = new RequestMonitor(clock, this.#events, onError);
    const chain = new AuthenticationChain({
      authenticators,
      allowAnonymous,
      clock,
      audit: record,
      onError,
      ...(resource === undefined ? {} : { challenge: (error: unknown) => resource.challenge(error) }),
      onFailure: (failure) => {
        this.#authFailures += 1;
        this.#events.emit('authFailure', failure);
      },
    });
    const service = wrap(options.service, [
      this.#monitor.middleware,
      ...(resource === undefined ? [] : [resource.middleware]),
      requestTimeout(limits.requestTimeoutMs, clock),
      ...(options.middleware ?? []),
    ]);
    this.#name = options.service.info.name;
    this.#host = {
      ...limits,
      service,
      clock,
      metricsSource: this,
      authenticate: (request) => chain.authenticate(request),
      ...(resource === undefined ? {} : { document: (path: string) => resource.document(path) }),
      audit: record,
      onError,
      connection: (change) => {
        this.#connections += change;
      },
      sessionEnded: (session) => this.#events.emit('sessionEnded', session),
      ready: () => this.#status === 'running',
      hasCapacity: () => this.#connections < limits.maxConnections,
      ended: () => void this.stop().catch(onError),
    };
  }

  get status(): ServerStatus {
    return this.#status;
  }

  /** Where the server listens: URLs, socket paths, `stdio:`. Empty until it is started. */
  get endpoints(): readonly string[] {
    return this.#listeners.flatMap((listener) => [
      ...(listener.endpoint === undefined ? [] : [listener.endpoint]),
      ...(listener instanceof HttpListener ? listener.upgradeEndpoints : []),
    ]);
  }

  /** Starts every listener. When one fails, those already started are closed and the error is thrown. */
  async start(): Promise<void> {
    if (this.#status === 'starting' || this.#status === 'running' || this.#status === 'draining') {
      throw new Error(`SecureMCPServer.start: the server is ${this.#status}`);
    }
    this.#draining = undefined;
    this.#stopping = undefined;
    this.#starting = this.#start();
    await this.#starting;
  }

  /**
   * Accepts nothing new, lets what runs finish, ends subscriptions and sessions with their closing
   * messages. Resolves when that is done, or after `deadlineMs`. `stop` comes next.
   */
  drain(deadlineMs = 30_000): Promise<void> {
    if (this.#status === 'running') this.#draining = this.#drain(deadlineMs);
    return this.#draining ?? Promise.resolve();
  }

  /** Closes every listener; what still runs is cut. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  metrics(): ServerMetrics {
    const live = this.#status === 'running' || this.#status === 'draining';
    return {
      uptimeMs: live ? this.#clock.now() - this.#startedAt : 0,
      totalRequests: this.#monitor.totalRequests,
      authFailures: this.#authFailures,
      rateLimitHits: this.#monitor.rateLimitHits,
      activeConnections: this.#connections,
      errors: this.#monitor.errors,
      latencyMs: this.#monitor.latency.summary(),
      requestsPerSecond: this.#monitor.throughput.perSecond(),
    };
  }

  /** Listens to one kind of {@link ServerEvents}. Returns the function that ends the subscription. */
  on<Name extends keyof ServerEvents>(name: Name, listener: (event: ServerEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  async #start(): Promise<void> {
    this.#change('starting');
    try {
      for (const listener of this.#listeners) await listener.listen(this.#host);
    } catch (error) {
      await Promise.allSettled(this.#listeners.map((listener) => listener.close()));
      this.#change('error');
      throw error;
    }
    this.#startedAt = this.#clock.now();
    this.#change('running');
    this.#lifecycle('server.started');
  }

  async #drain(deadlineMs: number): Promise<void> {
    this.#change('draining');
    await Promise.all([
      settledWithin(this.#monitor.idle(), deadlineMs, this.#clock),
      ...this.#listeners.map((listener) => listener.drain(deadlineMs)),
    ]);
  }

  async #stop(): Promise<void> {
    // A port that is being opened cannot be closed yet.
    await this.#starting?.catch(() => {});
    const wasLive = this.#status === 'running' || this.#status === 'draining';
    try {
      const results = await Promise.allSettled(this.#listeners.map((listener) => listener.close()));
      this.#audit.flush();
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    } catch (error) {
      this.#change('error');
      throw error;
    }
    this.#change('stopped');
    if (wasLive) this.#lifecycle('server.stopped');
  }

  #change(to: ServerStatus): void {
    const from = this.#status;
    if (from === to) return;
    this.#status = to;
    this.#events.emit('statusChange', { from, to });
  }

  #lifecycle(type: 'server.started' | 'server.stopped'): void {
    this.#audit.record({ type, time: this.#clock.now(), outcome: 'succeeded', actor: '-', target: this.#name });
  }
}

function wrap(service: RpcService, middleware: readonly RpcMiddleware[]): RpcService {
  const handler = compose((request, context) => service.handler(request, context), middleware);
  return {
    get info() {
      return service.info;
    },
    handler,
    ...(service.events === undefined ? {} : { events: service.events }),
    ...(service.toolInputSchema === undefined
      ? {}
      : { toolInputSchema: (name: string, caller: Caller) => service.toolInputSchema?.(name, caller) }),
  };
}

function writeToStderr(error: Error): void {
  process.stderr.write(`${error.stack ?? String(error)}\n`);
}
