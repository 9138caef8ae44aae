import { isJsonObject, type JsonObject, META, RpcError, type RpcResult, type ServiceEvent, toWireError } from '@mcp-blocks/core';
import { ProtocolError } from '@modelcontextprotocol/client';
import { CallScope, outsideCalls } from './call-scope.js';
import { CompleteStreamTransport } from './complete-stream-transport.js';
import type { RawClient } from './raw-client.js';
import { fromSdkError } from './sdk-failure.js';
import { SdkWatches } from './sdk-watches.js';
import { SessionTransport } from './session-transport.js';
import { TransportFailure, type Upstream, type UpstreamRequest, type UpstreamSession, type UpstreamWatch } from './upstream.js';

/** Deadlines are the cluster's; the SDK's own timer is put out of the way. */
const NO_SDK_TIMEOUT_MS = 2_147_483_647;

/** What a legacy node may ask of a client. */
const QUESTIONS: ReadonlySet<string> = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list']);

/** Notifications that belong to a request, beside its progress. */
const REQUEST_NOTIFICATIONS: ReadonlySet<string> = new Set(['notifications/message', 'notifications/elicitation/complete']);

/** A connected SDK client as an {@link Upstream}. */
export class SdkUpstream implements Upstream {
  readonly #client: RawClient;
  readonly #scope = new CallScope();
  readonly #watches: SdkWatches;
  #logging: Promise<unknown> | undefined;
  #closed = false;

  constructor(client: RawClient) {
    this.#client = client;
    this.#watches = new SdkWatches(client);
    client.onclose = () => {
      this.#closed = true;
      this.#watches.end();
    };
    client.fallbackRequestHandler = ({ method, params }) => this.#answer(method, (params ?? {}) as JsonObject);
    client.fallbackNotificationHandler = async ({ method, params }) => {
      if (this.#watches.notified(method, params)) return;
      if (REQUEST_NOTIFICATIONS.has(method)) this.#scope.owner?.onNotification?.(method, (params ?? {}) as JsonObject);
    };
  }

  get closed(): boolean {
    return this.#closed;
  }

  get session(): UpstreamSession | undefined {
    const { transport } = this.#client;
    return transport instanceof SessionTransport ? transport.session : undefined;
  }

  /** Many legacy servers ask beside the stream of the call, where nothing names it. */
  get onePerCall(): boolean {
    return !this.#isModern;
  }

  async request(request: UpstreamRequest): Promise<RpcResult> {
    if (this.#closed) throw new TransportFailure('The connection to the node is closed', { delivery: 'not-sent' });
    try {
      if (request.logLevel !== undefined && !this.#isModern) await this.#switchOnLogging(request.signal);
      const result = await this.#scope.within(request, () => this.#send(request));
      if (!isJsonObject(result)) throw new RpcError('upstream_error', 'The node answered with something that is not a result');
      return withoutServerInfo(result);
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      throw error instanceof RpcError ? error : fromSdkError(error, 'requesting', this.#client.transport?.sessionId !== undefined);
    }
  }

  async watch(uri: string | undefined, onEvent: (event: ServiceEvent) => void): Promise<UpstreamWatch> {
    if (this.#closed) throw new TransportFailure('The connection to the node is closed', { delivery: 'not-sent' });
    try {
      return await outsideCalls(() => this.#watches.open(uri, onEvent));
    } catch (error) {
      throw error instanceof RpcError ? error : fromSdkError(error, 'requesting');
    }
  }

  async ping(signal: AbortSignal): Promise<void> {
    const options = { signal, timeout: NO_SDK_TIMEOUT_MS };
    try {
      await (this.#isModern ? this.#client.discover(options) : this.#client.ping(options));
    } catch (error) {
      throw fromSdkError(error, 'requesting');
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { transport } = this.#client;
    if (transport instanceof CompleteStreamTransport || transport instanceof SessionTransport) await transport.terminateSession();
    await this.#client.close();
  }

  async leave(): Promise<void> {
    this.#closed = true;
    await this.#client.close();
  }

  get #isModern(): boolean {
    return this.#client.getProtocolEra() === 'modern';
  }

  #send(request: UpstreamRequest): Promise<unknown> {
    const { method, params, signal, onProgress, inputSchema } = request;
    const sent = this.#isModern ? withEnvelope(request) : params;
    const options = {
      signal,
      timeout: NO_SDK_TIMEOUT_MS,
      allowInputRequired: true,
      ...(onProgress === undefined ? {} : { onprogress: (progress: object) => onProgress(progress as JsonObject) }),
    };
    if (method !== 'tools/call' || typeof params.name !== 'string') {
      return this.#client.request({ method, params: sent } as never, options);
    }
    return this.#client.callTool(sent as never, {
      ...options,
      // Without an output schema: validating the node's output is the business of who asked.
      ...(inputSchema === undefined ? {} : { toolDefinition: { name: params.name, inputSchema: inputSchema as never } }),
    });
  }

  /** Once per connection and down to the lowest level: who called filters by the level it asked for. */
  #switchOnLogging(signal: AbortSignal): Promise<unknown> {
    if (this.#client.getServerCapabilities()?.logging === undefined) return Promise.resolve();
    this.#logging ??= outsideCalls(() => this.#client.setLoggingLevel('debug', { signal, timeout: NO_SDK_TIMEOUT_MS })).catch(
      (error: unknown) => {
        this.#logging = undefined;
        throw error;
      },
    );
    return this.#logging;
  }

  async #answer(method: string, params: JsonObject): Promise<never> {
    const ask = QUESTIONS.has(method) ? this.#scope.owner?.ask : undefined;
    if (ask === undefined) throw new ProtocolError(-32601, 'The caller cannot be asked for this');
    try {
      return (await ask(method, params)) as never;
    } catch (error) {
      const { code, message, data } = toWireError(error);
      throw new ProtocolError(code, message, data);
    }
  }
}

/** The node is told about the real client; its capabilities decide what the node may ask for. */
function withEnvelope({ params, clientInfo, clientCapabilities, logLevel }: UpstreamRequest): JsonObject {
  const meta: JsonObject = {
    ...(isJsonObject(params._meta) ? params._meta : {}),
    ...(clientInfo === undefined ? {} : { [META.clientInfo]: clientInfo }),
    ...(clientCapabilities === undefined ? {} : { [META.clientCapabilities]: clientCapabilities }),
    ...(logLevel === undefined ? {} : { [META.logLevel]: logLevel }),
  };
  return Object.keys(meta).length > 0 ? { ...params, _meta: meta } : params;
}

/** Our own listener names this server to the caller, not the node behind it. */
function withoutServerInfo(result: JsonObject): RpcResult {
  if (!isJsonObject(result._meta) || !(META.serverInfo in result._meta)) return result;
  const { _meta, ...rest } = result;
  const { [META.serverInfo]: _serverInfo, ...meta } = _meta as JsonObject;
  return Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
}
