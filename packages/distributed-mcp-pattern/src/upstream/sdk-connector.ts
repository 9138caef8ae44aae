import { isJsonObject, type JsonObject, META, RpcError, type RpcResult, type ServiceNode } from '@mcp-blocks/core';
import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { abortable } from '../abortable.js';
import { CompleteStreamTransport } from './complete-stream-transport.js';
import { fromSdkError } from './sdk-failure.js';
import { type Connect, type ConnectOptions, TransportFailure, type Upstream, type UpstreamRequest } from './upstream.js';

/** How this package names itself to nodes when there is no caller to name. */
const CLIENT_INFO = { name: 'mcp-blocks-cluster', version: '0.0.0' };

/** Deadlines are the cluster's; the SDK's own timer is put out of the way. */
const NO_SDK_TIMEOUT_MS = 2_147_483_647;

/** Results are passed on as they came; who asked validates them. */
const anyResult = z.looseObject({});

/**
 * Opens connections with the official SDK's client, in the era the node speaks: Streamable HTTP for
 * `http(s)://`, our WebSocket transport for `ws(s)://`.
 */
export const connectWithSdk: Connect = async (node, options) => {
  const client = new RawClient(CLIENT_INFO, { versionNegotiation: { mode: 'auto' } });
  // Failures are reported by the request they belong to.
  client.onerror = () => {};
  const transport = transportTo(node, options);
  try {
    options.signal.throwIfAborted();
    await abortable(client.connect(transport), options.signal);
    return new SdkUpstream(client);
  } catch (error) {
    // Also ends a handshake that was given up.
    await transport.close().catch(() => {});
    throw fromSdkError(error, 'connecting');
  }
};

function transportTo(node: ServiceNode, { headers }: ConnectOptions): Transport {
  if (/^wss?:/.test(node.url)) return new WebSocketClientTransport(node.url, { headers });
  return new CompleteStreamTransport(new StreamableHTTPClientTransport(new URL(node.url), { requestInit: { headers: { ...headers } } }));
}

/** The SDK's client with results left as they came, so that a field it does not know is not lost on the way. */
class RawClient extends Client {
  override request(request: { method: string; params?: Record<string, unknown> }, ...rest: unknown[]): Promise<never> {
    const schemaGiven = rest.length > 1;
    const options = (schemaGiven ? rest[1] : rest[0]) as object | undefined;
    // The client's own handshake and catalogue keep their schemas.
    const raw = request.method !== 'initialize' && !schemaGiven;
    const send = super.request.bind(this) as (...args: unknown[]) => Promise<never>;
    return raw ? send(request, anyResult, options) : send(request, ...rest);
  }
}

class SdkUpstream implements Upstream {
  readonly #client: RawClient;
  #closed = false;

  constructor(client: RawClient) {
    this.#client = client;
    client.onclose = () => {
      this.#closed = true;
    };
  }

  get closed(): boolean {
    return this.#closed;
  }

  async request({ method, params, signal, clientInfo, clientCapabilities, onProgress, inputSchema }: UpstreamRequest): Promise<RpcResult> {
    if (this.#closed) throw new TransportFailure('The connection to the node is closed', { delivery: 'not-sent' });
    const sent = this.#client.getProtocolEra() === 'modern' ? withEnvelope(params, clientInfo, clientCapabilities) : params;
    const options = {
      signal,
      timeout: NO_SDK_TIMEOUT_MS,
      allowInputRequired: true,
      ...(onProgress === undefined ? {} : { onprogress: (progress: object) => onProgress(progress as JsonObject) }),
    };
    try {
      const result: unknown =
        method === 'tools/call' && typeof params.name === 'string'
          ? await this.#client.callTool(sent as never, {
              ...options,
              // Without an output schema: validating the node's output is the business of who asked.
              ...(inputSchema === undefined ? {} : { toolDefinition: { name: params.name, inputSchema: inputSchema as never } }),
            })
          : await this.#client.request({ method, params: sent } as never, options);
      if (!isJsonObject(result)) throw new RpcError('upstream_error', 'The node answered with something that is not a result');
      return withoutServerInfo(result);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof RpcError ? error : fromSdkError(error, 'requesting');
    }
  }

  async ping(signal: AbortSignal): Promise<void> {
    const options = { signal, timeout: NO_SDK_TIMEOUT_MS };
    try {
      await (this.#client.getProtocolEra() === 'modern' ? this.#client.discover(options) : this.#client.ping(options));
    } catch (error) {
      throw fromSdkError(error, 'requesting');
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { transport } = this.#client;
    if (transport instanceof CompleteStreamTransport) await transport.terminateSession();
    await this.#client.close();
  }
}

/** The node is told about the real client; its capabilities decide what the node may ask for. */
function withEnvelope(params: JsonObject, clientInfo: JsonObject | undefined, clientCapabilities: JsonObject | undefined): JsonObject {
  const meta: JsonObject = {
    ...(isJsonObject(params._meta) ? params._meta : {}),
    ...(clientInfo === undefined ? {} : { [META.clientInfo]: clientInfo }),
    ...(clientCapabilities === undefined ? {} : { [META.clientCapabilities]: clientCapabilities }),
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
