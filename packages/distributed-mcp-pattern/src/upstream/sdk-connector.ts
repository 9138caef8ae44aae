import { ConfigurationError, type ServiceNode } from '@mcp-blocks/core';
import { type WebSocketClientOptions, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { abortable } from '../abortable.js';
import { boundedFetch } from './bounded-response.js';
import { outsideCalls } from './call-scope.js';
import { CompleteStreamTransport } from './complete-stream-transport.js';
import { RawClient } from './raw-client.js';
import { fromSdkError } from './sdk-failure.js';
import { SdkUpstream } from './sdk-upstream.js';
import { SessionTransport } from './session-transport.js';
import type { Connect, ConnectOptions, Upstream } from './upstream.js';

/** Options of {@link sdkConnector}. */
export interface SdkConnectorOptions {
  /** Most bytes of an HTTP response, or of one event of a stream; 1 or more. Default: 16,777,216 (16 MiB). */
  readonly maxResponseBytes?: number;
  /** For nodes with `ws(s)://` URLs: TLS, Noise, bounds. `headers` are added to the credentials, which go before. */
  readonly webSocket?: WebSocketClientOptions;
}

/**
 * Opens connections with the official SDK's client, in the era the node speaks: Streamable HTTP for
 * `http(s)://`, our WebSocket transport for `ws(s)://`. Give it as `connect`.
 *
 * @throws ConfigurationError naming the option that is wrong; those of `webSocket` when a node is connected to.
 */
export function sdkConnector({ maxResponseBytes = 16 * 1024 * 1024, webSocket = {} }: SdkConnectorOptions = {}): Connect {
  if (!Number.isSafeInteger(maxResponseBytes) || maxResponseBytes < 1) {
    throw new ConfigurationError('maxResponseBytes', `expected a whole number from 1, got ${maxResponseBytes}`);
  }
  const fetch = boundedFetch(maxResponseBytes);
  return (node, options) => connectOver(transportTo(node, options, fetch, webSocket), options);
}

/** {@link sdkConnector} with its defaults. */
export const connectWithSdk: Connect = sdkConnector();

/** Connects an SDK client over a fresh transport, which is closed when that fails. */
export async function connectOver(transport: Transport, { clientCapabilities = {}, session, signal }: ConnectOptions): Promise<Upstream> {
  // Who goes on with a session knows the era.
  const client = new RawClient(clientCapabilities, typeof session === 'object' ? 'legacy' : 'auto');
  const upstream = new SdkUpstream(client);
  try {
    signal.throwIfAborted();
    await abortable(
      outsideCalls(() => client.connect(transport)),
      signal,
    );
    return upstream;
  } catch (error) {
    // Also ends a handshake that was given up.
    await transport.close().catch(() => {});
    throw fromSdkError(error, 'connecting');
  }
}

function transportTo(
  node: ServiceNode,
  { headers, session }: ConnectOptions,
  fetch: typeof globalThis.fetch,
  webSocket: WebSocketClientOptions,
): Transport {
  if (/^wss?:/.test(node.url)) {
    return new WebSocketClientTransport(node.url, { ...webSocket, headers: { ...webSocket.headers, ...headers } });
  }
  const requestInit = { headers: { ...headers } };
  const resumed = typeof session === 'object' ? session : undefined;
  const sessionId = resumed === undefined ? {} : { sessionId: resumed.id };
  const http = new CompleteStreamTransport(new StreamableHTTPClientTransport(new URL(node.url), { requestInit, fetch, ...sessionId }));
  return session === undefined ? http : new SessionTransport(http, resumed);
}
