import {
  type CancelTimer,
  type Clock,
  isJsonRpcRequest,
  type JsonObject,
  type JsonRpcMessage,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
  type Random,
  RpcError,
  sleep,
} from '@mcp-blocks/core';
import { backoffDelayMs } from './backoff.js';
import { ambiguous, errorResponse, isListen, MAX_DELIVERIES, mayRepeat, type PendingRequest } from './pending-request.js';
import type { Loss, MessageId, Outcome, Remote, RemoteEvents } from './remote.js';
import { ServerRequests } from './server-requests.js';
import { SessionMemory, type Step } from './session-memory.js';

/** What a {@link Bridge} is between, and its bounds. */
export interface BridgeOptions {
  readonly connect: (events: RemoteEvents) => Remote;
  /** Gives the host a message. A promise is returned while the host does not read. */
  toHost(message: object): Promise<void> | undefined;
  /** There is no use in going on; every request has been answered. Called once at most. */
  onFatal(error: RpcError): void;
  warn(text: string): void;
  debug(text: string): void;
  /** Milliseconds for the first connection, and for a session to be restored. */
  readonly connectTimeoutMs: number;
  /** Milliseconds a request waits while there is no connection. */
  readonly waitTimeoutMs: number;
  /** Requests that wait at a time. */
  readonly maxWaiting: number;
  readonly clock: Clock;
  readonly random: Random;
}

type State = 'connecting' | 'open' | 'closed';

/** Ids of the bridge's own requests. */
const OWN_ID = 'mcp-blocks-bridge:';

/**
 * Carries JSON-RPC messages between a host and a server, in either era. It is no MCP client: it looks at
 * messages only for what a lost connection takes, so that the host notices as little of it as possible.
 */
export class Bridge {
  readonly #options: BridgeOptions;
  readonly #remote: Remote;
  readonly #pending = new Map<MessageId, PendingRequest>();
  readonly #own = new Map<MessageId, (answer: JsonRpcResponse | RpcError) => void>();
  readonly #serverRequests = new ServerRequests();
  readonly #session = new SessionMemory();
  readonly #life = new AbortController();
  #state: State = 'connecting';
  #looping = false;
  #failures = 0;
  #losses = 0;
  #sessionLost = false;
  /** Whether a server has ever accepted the credentials. */
  #accepted = false;
  #cancelFirst: CancelTimer | undefined;
  #ownIds = 0;
  #wakeIdle = () => {};

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#remote = options.connect({
      message: (message) => this.#fromRemote(message),
      failed: (id, outcome, error) => this.#failed(id, outcome, error),
      lost: (loss) => this.#lost(loss),
      debug: options.debug,
      warn: options.warn,
    });
  }

  /** Begins to connect. */
  start(): void {
    const { clock, connectTimeoutMs } = this.#options;
    this.#cancelFirst = clock.setTimeout(() => {
      this.#fatal(new RpcError('unavailable', `The server could not be reached within ${connectTimeoutMs} ms`));
    }, connectTimeoutMs);
    void this.#connect();
  }

  /** A message of the host. Resolves when the next one may be taken. */
  async fromHost(message: JsonRpcMessage): Promise<void> {
    if (this.#state === 'closed') return;
    if (isJsonRpcRequest(message)) await this.#request(message);
    else if ('method' in message) await this.#notification(message);
    else await this.#hostAnswer(message);
  }

  /** Resolves when every request but subscriptions is answered. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeIdle = () => {
        if (this.#state === 'closed' || [...this.#pending.values()].every(isListen)) resolve();
      };
      this.#wakeIdle();
    });
  }

  /** Answers what is pending with an error, and says goodbye to the server. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#end(new RpcError('unavailable', 'The bridge was closed before the request was sent'));
    await this.#remote.close();
  }

  async #request(request: JsonRpcRequest): Promise<void> {
    if (this.#pending.has(request.id)) {
      this.#options.warn('The host used the id of a request that is not answered; the second request is dropped');
      return;
    }
    const pending: PendingRequest = { request, sent: false, deliveries: 0, acknowledged: false, cancelWait: undefined };
    this.#pending.set(request.id, pending);
    await this.#sendOrWait(pending);
  }

  async #notification(message: JsonRpcNotification): Promise<void> {
    if (message.method === 'notifications/cancelled') {
      const pending = this.#pending.get(message.params?.requestId as MessageId);
      if (pending === undefined) return;
      this.#forget(pending);
      if (!pending.sent) return;
    }
    if (message.method === 'notifications/initialized') this.#session.initialized = true;
    if (this.#state === 'open') await this.#remote.send(message);
    else this.#options.debug(`Not connected: ${message.method} is dropped`);
  }

  async #hostAnswer(message: JsonRpcResponse): Promise<void> {
    const id = this.#serverRequests.answer(message.id);
    if (id !== undefined && this.#state === 'open') await this.#remote.send({ ...message, id });
  }

  async #sendOrWait(pending: PendingRequest): Promise<void> {
    if (this.#state === 'open') {
      pending.cancelWait?.();
      pending.cancelWait = undefined;
      pending.sent = true;
      pending.deliveries += 1;
      await this.#remote.send(pending.request);
      return;
    }
    pending.sent = false;
    // A subscription lasts until somebody ends it, however long the server is away.
    if (pending.acknowledged || pending.cancelWait !== undefined) return;
    const { clock, waitTimeoutMs, maxWaiting } = this.#options;
    let waiting = 0;
    for (const { sent } of this.#pending.values()) if (!sent) waiting += 1;
    if (waiting > maxWaiting) {
      this.#answer(pending, new RpcError('unavailable', `Not connected to the server, and ${maxWaiting} requests wait already`));
      return;
    }
    pending.cancelWait = clock.setTimeout(() => {
      this.#answer(pending, new RpcError('unavailable', `Not connected to the server for ${waitTimeoutMs} ms`));
    }, waitTimeoutMs);
  }

  #fromRemote(message: JsonRpcMessage): Promise<void> | undefined {
    if (this.#state === 'closed') return undefined;
    this.#failures = 0;
    this.#accepted = true;
    if (isJsonRpcRequest(message)) return this.#options.toHost({ ...message, id: this.#serverRequests.accept(message.id) });
    if ('method' in message) return this.#remoteNotification(message);
    const own = this.#own.get(message.id);
    if (own !== undefined) {
      own(message);
      return undefined;
    }
    const pending = this.#pending.get(message.id);
    // An answer to what the host has cancelled, or a second one.
    if (pending?.sent !== true) return undefined;
    this.#session.learn(pending.request, message);
    this.#forget(pending);
    return this.#options.toHost(message);
  }

  #remoteNotification(message: JsonRpcNotification): Promise<void> | undefined {
    if (message.method === 'notifications/cancelled') {
      const requestId = this.#serverRequests.cancel(message.params?.requestId as MessageId);
      return requestId === undefined ? undefined : this.#options.toHost({ ...message, params: { ...message.params, requestId } });
    }
    if (message.method === 'notifications/subscriptions/acknowledged') {
      const pending = this.#pending.get(subscriptionId(message));
      if (pending !== undefined) {
        pending.deliveries = 0;
        if (pending.acknowledged) return undefined;
        pending.acknowledged = true;
      }
    }
    return this.#options.toHost(message);
  }

  #failed(id: MessageId, outcome: Outcome, error: RpcError): void {
    const own = this.#own.get(id);
    const pending = this.#pending.get(id);
    if (own !== undefined) own(error);
    else if (pending?.sent === true) {
      if (!this.#accepted && isRefusal(error)) this.#fatal(error);
      else this.#unanswered(pending, outcome, error);
    }
  }

  /** A request that was sent gets no answer: send it again, or say so. */
  #unanswered(pending: PendingRequest, outcome: Outcome, error: RpcError): void {
    if (outcome === 'not-started') pending.deliveries -= 1;
    const again = outcome === 'not-started' || (outcome === 'unknown' && mayRepeat(pending) && pending.deliveries < MAX_DELIVERIES);
    if (again) void this.#sendOrWait(pending);
    else this.#answer(pending, outcome === 'unknown' && !mayRepeat(pending) ? ambiguous(error) : error);
  }

  #lost({ error, inFlight, session }: Loss): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'open') this.#failures += 1;
    this.#state = 'connecting';
    this.#losses += 1;
    this.#options.warn(`${error.message}${causeOf(error)}; connecting again`);
    if (session) {
      this.#sessionLost = true;
      for (const requestId of this.#serverRequests.endSession()) {
        void this.#options.toHost({
          jsonrpc: '2.0',
          method: 'notifications/cancelled',
          params: { requestId, reason: 'The connection to the server broke' },
        });
      }
    }
    for (const own of [...this.#own.values()]) own(error);
    if (inFlight !== 'separate') {
      for (const pending of [...this.#pending.values()]) if (pending.sent) this.#unanswered(pending, inFlight, error);
    }
    void this.#connect();
  }

  async #connect(): Promise<void> {
    if (this.#looping) return;
    this.#looping = true;
    const { clock, random } = this.#options;
    while (this.#state === 'connecting') {
      try {
        if (this.#failures > 0) await sleep(clock, backoffDelayMs(this.#failures, random), this.#life.signal);
        const losses = this.#losses;
        await this.#remote.open();
        if (this.#remote.connectionBound) this.#accepted = true;
        if (this.#session.established && this.#sessionLost) await this.#restoreSession(losses);
        if (this.#isClosed()) await this.#remote.close();
        else if (losses === this.#losses) this.#opened();
        else this.#failures += 1;
      } catch (error) {
        this.#openFailed(error);
      }
    }
    this.#looping = false;
  }

  #opened(): void {
    this.#sessionLost = false;
    this.#cancelFirst?.();
    this.#cancelFirst = undefined;
    this.#state = 'open';
    this.#options.debug('Connected');
    for (const pending of [...this.#pending.values()]) if (!pending.sent) void this.#sendOrWait(pending);
  }

  /** Brings a new connection to where the host believes its session is; none of it reaches the host. */
  async #restoreSession(losses: number): Promise<void> {
    const { result } = await this.#ask(this.#session.handshake, losses);
    if (result?.protocolVersion !== this.#session.protocolVersion) {
      this.#fatal(new RpcError('unavailable', 'The server came back with another protocol revision'));
      return;
    }
    if (this.#session.initialized) await this.#remote.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    for (const step of this.#session.steps) {
      const { error } = await this.#ask(step, losses);
      if (error !== undefined) this.#options.warn(`The server refused to restore ${step.method}: ${error.code}`);
    }
  }

  /**
   * Asks the server on the bridge's own behalf.
   *
   * @param losses - how often the server had been lost when this connection was opened.
   * @throws RpcError when no answer comes.
   */
  #ask({ method, params }: Step, losses: number): Promise<JsonRpcResponse> {
    this.#ownIds += 1;
    const id = `${OWN_ID}${this.#ownIds}`;
    const { clock, connectTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      if (losses !== this.#losses || this.#isClosed())
        throw new RpcError('unavailable', 'The connection broke while the session was restored');
      const settle = (answer: JsonRpcResponse | RpcError) => {
        cancel();
        this.#own.delete(id);
        if (answer instanceof RpcError) reject(answer);
        else resolve(answer);
      };
      const cancel = clock.setTimeout(() => settle(new RpcError('unavailable', 'The session was not restored in time')), connectTimeoutMs);
      this.#own.set(id, settle);
      void this.#remote.send({ jsonrpc: '2.0', id, method, params: withoutProgress(params) });
    });
  }

  #openFailed(cause: unknown): void {
    if (this.#isClosed()) return;
    const error = cause instanceof RpcError ? cause : new RpcError('unavailable', 'No connection to the server', { cause });
    if (isRefusal(error) && !this.#accepted) {
      this.#fatal(error);
      return;
    }
    if (isRefusal(error)) {
      // Trying again helps once the credential has been renewed; what waits now is told at once.
      for (const pending of [...this.#pending.values()]) if (!pending.sent && !pending.acknowledged) this.#answer(pending, error);
    }
    this.#failures += 1;
    this.#options.warn(`${error.message}${causeOf(error)}; trying again`);
  }

  #answer(pending: PendingRequest, error: RpcError): void {
    this.#forget(pending);
    void this.#options.toHost(errorResponse(pending.request.id, error));
  }

  #forget(pending: PendingRequest): void {
    pending.cancelWait?.();
    this.#pending.delete(pending.request.id);
    this.#wakeIdle();
  }

  #fatal(error: RpcError): void {
    if (this.#state === 'closed') return;
    this.#end(error);
    void this.#remote.close();
    this.#options.onFatal(error);
  }

  #end(error: RpcError): void {
    this.#state = 'closed';
    this.#life.abort(error);
    this.#cancelFirst?.();
    for (const own of [...this.#own.values()]) own(error);
    for (const pending of [...this.#pending.values()]) {
      this.#answer(pending, pending.sent && !mayRepeat(pending) && !isRefusal(error) ? ambiguous(error) : error);
    }
    this.#wakeIdle();
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }
}

function isRefusal({ code }: RpcError): boolean {
  return code === 'unauthenticated' || code === 'forbidden';
}

/** The code of the system's error underneath, where there is one: it holds no secret. */
function causeOf({ cause }: RpcError): string {
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && /^[A-Z_]+$/.test(code) ? ` (${code})` : '';
}

function subscriptionId({ params }: JsonRpcNotification): MessageId {
  const meta = params?._meta as JsonObject | undefined;
  return meta?.['io.modelcontextprotocol/subscriptionId'] as MessageId;
}

/** The host's progress token names a request of its own. */
function withoutProgress(params: JsonObject): JsonObject {
  const { progressToken: _, ...meta } = (params._meta ?? {}) as JsonObject;
  return params._meta === undefined ? params : { ...params, _meta: meta };
}
