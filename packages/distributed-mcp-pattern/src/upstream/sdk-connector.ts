import type { ServiceNode } from '@mcp-blocks/core';
import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { abortable } from '../abortable.js';
import { outsideCalls } from './call-scope.js';
import { CompleteStreamTransport } from './complete-stream-transport.js';
import { RawClient } from './raw-client.js';
import { fromSdkError } from './sdk-failure.js';
import { SdkUpstream } from './sdk-upstream.js';
import type { Connect, ConnectOptions } from './upstream.js';

/**
 * Opens connections with the official SDK's client, in the era the node speaks: Streamable HTTP for
 * `http(s)://`, our WebSocket transport for `ws(s)://`.
 */
export const connectWithSdk: Connect = async (node, options) => {
  const client = new RawClient(options.clientCapabilities ?? {});
  const upstream = new SdkUpstream(client);
  const transport = transportTo(node, options);
  try {
    options.signal.throwIfAborted();
    await abortable(
      outsideCalls(() => client.connect(transport)),
      options.signal,
    );
    return upstream;
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
