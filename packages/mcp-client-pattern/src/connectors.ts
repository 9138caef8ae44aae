import { CLOSE_CODES, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { challengeFetch } from './auth/challenge.js';
import type { ConnectorEnvironment } from './config.js';
import type { Connector } from './connection.js';
import { pushbackFetch } from './pushback-fetch.js';
import { openSdkConnection, type ProtocolOptions, type TransportFacts } from './sdk-connection.js';

/**
 * Makes a connector of an SDK transport.
 *
 * @param kind - names the transport in statuses.
 * @param transport - called for every attempt; returns a fresh transport that presents the token.
 * @param facts - what the transport knows about its end beyond the SDK's interface.
 */
export function sdkConnector<T extends Transport>(
  kind: string,
  protocol: ProtocolOptions,
  transport: (token: string | undefined) => T | Promise<T>,
  facts?: (transport: T) => TransportFacts,
): Connector {
  return {
    kind,
    async open(token, events, signal) {
      const made = await transport(token);
      return openSdkConnection(made, protocol, events, signal, () => facts?.(made) ?? {});
    },
  };
}

/** WebSocket and HTTP, as the configuration allows. */
export function networkConnectors(environment: ConnectorEnvironment): readonly Connector[] {
  const { httpUrl, webSocketUrl, enableWebSocket, enableHttpFallback, allowInsecure, connectTimeoutMs, protocol } = environment;
  const webSocket = sdkConnector(
    'websocket',
    protocol,
    (token) =>
      new WebSocketClientTransport(webSocketUrl, {
        handshakeTimeoutMs: connectTimeoutMs,
        clock: protocol.clock,
        ...(token === undefined ? {} : { token }),
        ...(allowInsecure ? { allowInsecure } : {}),
      }),
    ({ closeCode, closeError }) => ({
      unansweredWasUnread: closeCode === CLOSE_CODES.goingAway,
      ...(closeError === undefined ? {} : { closeError }),
    }),
  );
  const http = sdkConnector('http', protocol, (token) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return new StreamableHTTPClientTransport(httpUrl, { requestInit: { headers }, fetch: challengeFetch(pushbackFetch(protocol.clock)) });
  });
  return [...(enableWebSocket ? [webSocket] : []), ...(enableHttpFallback ? [http] : [])];
}
