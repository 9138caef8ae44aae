import { McpServer, type McpServerFactory, ProtocolError, type ServerCapabilities, type ServerContext } from '@modelcontextprotocol/server';
import type { JsonObject } from '../json.js';
import { eraOf, LEGACY_PROTOCOL_VERSION, META, MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcContext, RpcResult } from '../rpc.js';
import type { RpcService, ServiceEvent } from '../service.js';
import { toWireError } from '../wire.js';
import { type Connection, carriedConnection, connectionOf } from './connection.js';
import { checkSubscribedUri, MAX_RESOURCE_SUBSCRIPTIONS, tooManySubscriptions } from './subscriptions.js';
import { traceOf } from './trace.js';

/** The request methods a service must answer for each capability it declares. */
const METHODS: Readonly<Record<string, readonly string[]>> = {
  tools: ['tools/list', 'tools/call'],
  resources: ['resources/list', 'resources/templates/list', 'resources/read'],
  prompts: ['prompts/list', 'prompts/get'],
  completions: ['completion/complete'],
};

const NOTIFICATIONS: Readonly<Record<ServiceEvent['kind'], string>> = {
  tools_list_changed: 'notifications/tools/list_changed',
  prompts_list_changed: 'notifications/prompts/list_changed',
  resources_list_changed: 'notifications/resources/list_changed',
  resource_updated: 'notifications/resources/updated',
};

/** An SDK server whose every request is answered by a service. One instance serves one connection. */
class ServiceServer extends McpServer {
  readonly #service: RpcService;
  readonly #caller: Connection;

  constructor(service: RpcService, caller: Connection) {
    const { capabilities, instructions, ...implementation } = service.info;
    super(implementation, {
      capabilities: capabilities as ServerCapabilities,
      ...(instructions === undefined ? {} : { instructions }),
    });
    this.#service = service;
    this.#caller = caller;
  }

  /** Where the SDK's HTTP entry looks up `x-mcp-header` declarations (SEP-2243). */
  override toolInputSchemaJson(name: string): Record<string, unknown> | undefined {
    return this.#service.toolInputSchema?.(name, this.#caller);
  }
}

/**
 * An SDK server factory that serves `service` in both eras.
 *
 * With `createMcpHandler` the connection travels in the `authInfo` (see {@link toAuthInfo}); for a
 * long-lived connection give it as `connection`, and the service's events are then forwarded too.
 */
export function toSdkFactory(service: RpcService, connection?: Connection): McpServerFactory {
  return ({ era, authInfo }) => {
    const from = connection ?? connectionOf(authInfo);
    const server = new ServiceServer(service, from);
    bind(server, service, from, era);
    if (connection !== undefined && service.events !== undefined) forwardEvents(server, service, era);
    return server;
  };
}

function bind(mcp: McpServer, service: RpcService, opened: Connection, era: 'modern' | 'legacy'): void {
  const { server } = mcp;
  const answer = async (
    method: string,
    params: JsonObject | undefined,
    context: ServerContext,
    subscription?: AbortSignal,
  ): Promise<RpcResult> => {
    // In a legacy HTTP session every message is authenticated anew; its own identity counts, not the first one's.
    const connection = carriedConnection(context.http?.authInfo) ?? opened;
    try {
      const rpcContext = toRpcContext(mcp, connection, context, era);
      return await service.handler(
        { method, params: restoreParams(params, context) },
        subscription === undefined ? rpcContext : { ...rpcContext, subscription },
      );
    } catch (error) {
      const wire = toWireError(error);
      connection.onFailure?.(wire);
      throw new ProtocolError(wire.code, wire.message, wire.data);
    }
  };
  const capabilities = service.info.capabilities;
  for (const [capability, methods] of Object.entries(METHODS)) {
    if (capabilities[capability] === undefined) continue;
    for (const method of methods) {
      server.setRequestHandler(
        method as 'tools/call',
        (request, context) => answer(method, request.params as JsonObject, context) as never,
      );
    }
  }
  if ((capabilities.resources as JsonObject | undefined)?.subscribe === true) {
    for (const method of ['resources/subscribe', 'resources/unsubscribe'] as const) {
      server.setRequestHandler(method, async (request, context) => {
        const uris = subscriptions(mcp);
        const { uri } = request.params;
        try {
          if (method === 'resources/subscribe') checkSubscribedUri(uri);
          if (method === 'resources/subscribe' && uris.size >= MAX_RESOURCE_SUBSCRIPTIONS && !uris.has(uri)) throw tooManySubscriptions();
        } catch (error) {
          const wire = toWireError(error);
          throw new ProtocolError(wire.code, wire.message, wire.data);
        }
        if (method === 'resources/unsubscribe') {
          await answer(method, request.params as JsonObject, context);
          uris.get(uri)?.abort();
          uris.delete(uri);
          return {};
        }
        const subscription = new AbortController();
        try {
          await answer(method, request.params as JsonObject, context, subscription.signal);
        } catch (error) {
          subscription.abort();
          throw error;
        }
        uris.get(uri)?.abort();
        uris.set(uri, subscription);
        if (server.transport === undefined) subscription.abort();
        return {};
      });
    }
  }
  // Methods outside the spec (extensions, a gateway's upstreams) reach the service as they are.
  server.fallbackRequestHandler = (request, context) => answer(request.method, request.params as JsonObject | undefined, context) as never;
}

/** The legacy era's `resources/subscribe` of each connection, by URI. */
const SUBSCRIPTIONS = new WeakMap<McpServer, Map<string, AbortController>>();

function subscriptions(mcp: McpServer): Map<string, AbortController> {
  const known = SUBSCRIPTIONS.get(mcp);
  if (known !== undefined) return known;
  const uris = new Map<string, AbortController>();
  SUBSCRIPTIONS.set(mcp, uris);
  const { server } = mcp;
  const previous = server.onclose;
  server.onclose = () => {
    for (const subscription of uris.values()) subscription.abort();
    uris.clear();
    previous?.();
  };
  return uris;
}

function forwardEvents(mcp: McpServer, service: RpcService, era: 'modern' | 'legacy'): void {
  const { server } = mcp;
  const stop = service.events?.subscribe((event) => {
    // On the modern era the SDK's listen router decides who asked for what.
    if (era === 'legacy' && event.kind === 'resource_updated' && !subscriptions(mcp).has(event.uri)) return;
    const params = event.kind === 'resource_updated' ? { uri: event.uri } : {};
    server.notification({ method: NOTIFICATIONS[event.kind], params } as never).catch(() => {
      // The connection is closing; its owner hears of that elsewhere.
    });
  });
  const previous = server.onclose;
  server.onclose = () => {
    stop?.();
    previous?.();
  };
}

/** Puts back what the SDK lifts out of `params`: the multi-round-trip members. */
function restoreParams(params: JsonObject | undefined, context: ServerContext): JsonObject {
  const { inputResponses, requestState } = context.mcpReq;
  const state = requestState<string>();
  if (inputResponses === undefined && state === undefined) return params ?? {};
  return {
    ...params,
    ...(inputResponses === undefined ? {} : { inputResponses: inputResponses as JsonObject }),
    ...(state === undefined ? {} : { requestState: state }),
  };
}

function toRpcContext(mcp: McpServer, connection: Connection, context: ServerContext, era: 'modern' | 'legacy'): RpcContext {
  const { mcpReq } = context;
  const envelope = mcpReq.envelope as JsonObject | undefined;
  const clientInfo = envelope?.[META.clientInfo] ?? mcp.server.getClientVersion();
  const clientCapabilities = envelope?.[META.clientCapabilities] ?? mcp.server.getClientCapabilities();
  const negotiated = envelope?.[META.protocolVersion] ?? mcp.server.getNegotiatedProtocolVersion?.();
  const protocolVersion =
    typeof negotiated === 'string' && eraOf(negotiated) === era
      ? negotiated
      : era === 'modern'
        ? MODERN_PROTOCOL_VERSION
        : LEGACY_PROTOCOL_VERSION;
  const sessionId = connection.sessionId ?? context.sessionId;
  const trace = traceOf(mcpReq._meta as JsonObject | undefined);
  const logLevel = envelope?.[META.logLevel];
  return {
    principal: connection.principal,
    transport: connection.transport,
    protocolVersion,
    signal: mcpReq.signal,
    requestId: mcpReq.id,
    ...(era === 'legacy' && sessionId !== undefined ? { sessionId } : {}),
    ...(clientInfo === undefined ? {} : { clientInfo: clientInfo as JsonObject }),
    ...(clientCapabilities === undefined ? {} : { clientCapabilities: clientCapabilities as JsonObject }),
    ...(connection.remoteAddress === undefined ? {} : { remoteAddress: connection.remoteAddress }),
    ...(trace === undefined ? {} : { trace }),
    ...(typeof logLevel === 'string' ? { logLevel } : {}),
    ...(connection.addResponseHeader === undefined ? {} : { addResponseHeader: connection.addResponseHeader }),
    notify(method, params) {
      if (method === 'notifications/message') {
        // Through the SDK's filter: the session's level, or the level this request asked for.
        return mcpReq.log(params.level as 'info', params.data, params.logger as string | undefined);
      }
      return mcpReq.notify({ method, params });
    },
    ...(era === 'legacy'
      ? {
          request: (method: string, params: JsonObject) =>
            mcpReq.send({ method: method as 'ping', params }, { timeout: 600_000 }) as Promise<RpcResult>,
        }
      : {}),
  };
}
