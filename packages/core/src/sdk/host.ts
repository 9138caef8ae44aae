import type { McpServer, McpServerFactory, Server, Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { anonymous } from '../identity.js';
import { isJsonObject, type JsonObject } from '../json.js';
import { LEGACY_PROTOCOL_VERSION, META, MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcContext, RpcRequest, RpcResult } from '../rpc.js';
import type { RpcService, ServiceEvents, ServiceInfo } from '../service.js';
import { type Connection, toAuthInfo } from './connection.js';
import { InProcessPeer, type PeerEvents } from './in-process-peer.js';

/** Options of {@link hostSdkServer} and {@link hostSdkV1Server}. */
export interface HostOptions {
  /** Where the server's change events come from, if it publishes any: its `ServerEventBus`. */
  readonly events?: ServiceEvents;
}

const HOST_INFO: JsonObject = { name: 'mcp-blocks-host', version: '0' };

/**
 * Makes a service of an SDK v2 server, so that every middleware and listener of ours works on it.
 *
 * The factory is called once per request, in the modern era, whatever era the caller speaks; the outer
 * listener translates. `authInfo` is set for the factory and for handlers (`ctx.http.authInfo`). Handlers
 * ask the user for input by returning `inputRequired(...)`; pushing `elicitInput()` is refused, as the
 * modern era has no requests from server to client.
 *
 * @throws whatever the factory throws when it is asked for the server's capabilities at start.
 */
export async function hostSdkServer(factory: McpServerFactory, options: HostOptions = {}): Promise<RpcService> {
  const request = async (context: HostedContext, { method, params }: RpcRequest): Promise<RpcResult> => {
    const peer = new InProcessPeer(eventsOf(context));
    const authInfo = toAuthInfo(context);
    const handle = serveStdio(
      async (requestContext) => {
        const product = await factory({ ...requestContext, authInfo });
        return withAuthInfo(product, authInfo);
      },
      { transport: peer.transport },
    );
    try {
      return await peer.request(
        method,
        { ...params, _meta: { ...(params._meta as JsonObject | undefined), ...envelope(context) } },
        context.signal,
      );
    } finally {
      await handle.close();
    }
  };
  const discovered = await request(NOBODY, { method: 'server/discover', params: {} });
  return {
    info: infoOf(discovered.capabilities, (discovered._meta as JsonObject | undefined)?.[META.serverInfo], discovered.instructions),
    handler: async (rpc, context) => withoutWireFields(await request(context, rpc)),
    ...(options.events === undefined ? {} : { events: options.events }),
  };
}

/** A server of `@modelcontextprotocol/sdk` (v1), as far as it is needed to host one. */
export interface SdkV1Server {
  connect(transport: never): Promise<void>;
  close(): Promise<void>;
}

/**
 * Makes a service of an SDK v1 server (`McpServer` or `Server` of `@modelcontextprotocol/sdk`), served to
 * callers of both eras.
 *
 * The factory is called once per request and the instance closed after it, as in v1's stateless mode: a
 * server that keeps state between requests keeps it outside the instance. Requests from the server to the
 * client (sampling, elicitation, roots) reach legacy callers, and are refused to modern ones.
 */
export async function hostSdkV1Server(factory: () => SdkV1Server | Promise<SdkV1Server>, options: HostOptions = {}): Promise<RpcService> {
  const withServer = async <T>(context: HostedContext, use: (peer: InProcessPeer, initialized: JsonObject) => Promise<T>): Promise<T> => {
    const peer = new InProcessPeer(eventsOf(context));
    const server = await factory();
    await server.connect(peer.transport as never);
    try {
      const initialized = await peer.request(
        'initialize',
        {
          protocolVersion: LEGACY_PROTOCOL_VERSION,
          capabilities: context.request === undefined ? {} : (context.clientCapabilities ?? {}),
          clientInfo: context.clientInfo ?? HOST_INFO,
        },
        context.signal,
      );
      peer.notify('notifications/initialized', {});
      return await use(peer, initialized);
    } finally {
      await server.close();
    }
  };
  const info = await withServer(NOBODY, async (_peer, { capabilities, serverInfo, instructions }) =>
    infoOf(capabilities, serverInfo, instructions),
  );
  return {
    info,
    handler: ({ method, params }, context) => withServer(context, (peer) => peer.request(method, params, context.signal)),
    ...(options.events === undefined ? {} : { events: options.events }),
  };
}

type HostedContext = Connection & Pick<RpcContext, 'clientInfo' | 'clientCapabilities' | 'logLevel' | 'signal' | 'notify' | 'request'>;

const NOBODY: HostedContext = {
  principal: anonymous,
  transport: 'memory',
  signal: new AbortController().signal,
  notify: () => Promise.resolve(),
};

function eventsOf(context: HostedContext): PeerEvents {
  return {
    onNotification: (method, params) => void context.notify(method, params).catch(() => {}),
    ...(context.request === undefined ? {} : { onRequest: context.request }),
  };
}

function envelope(context: HostedContext): JsonObject {
  return {
    [META.protocolVersion]: MODERN_PROTOCOL_VERSION,
    [META.clientInfo]: context.clientInfo ?? HOST_INFO,
    [META.clientCapabilities]: context.clientCapabilities ?? {},
    ...(context.logLevel === undefined ? {} : { [META.logLevel]: context.logLevel }),
  };
}

/** The stdio entry gives handlers no auth; put it back on every message of this one connection. */
function withAuthInfo(product: McpServer | Server, authInfo: ReturnType<typeof toAuthInfo>): McpServer | Server {
  const connect = product.connect.bind(product);
  product.connect = async (channel: Transport) => {
    await connect(channel);
    const deliver = channel.onmessage;
    channel.onmessage = (message, extra) => deliver?.(message, { ...extra, authInfo });
  };
  return product;
}

function infoOf(capabilities: unknown, serverInfo: unknown, instructions: unknown): ServiceInfo {
  const implementation = isJsonObject(serverInfo) ? serverInfo : {};
  return {
    name: 'unnamed',
    version: '0',
    ...implementation,
    capabilities: isJsonObject(capabilities) ? capabilities : {},
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

/** The outer listener stamps these for the era its caller speaks. */
function withoutWireFields(result: RpcResult): RpcResult {
  const { resultType, _meta, ...rest } = result;
  const { [META.serverInfo]: _serverInfo, ...meta } = (_meta ?? {}) as JsonObject;
  return {
    ...rest,
    ...(resultType === 'input_required' ? { resultType } : {}),
    ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}),
  };
}
