import { RpcError } from '@mcp-blocks/core';
import { type BaseClientOptions, BaseClientTransport, type Dialling } from './base-client-transport.js';
import { BrowserSocket } from './browser-socket.js';
import { nobleCrypto } from './noise/noble-crypto.js';
import { TOKEN_SUBPROTOCOL_PREFIX } from './subprotocols.js';

/** Options of {@link WebSocketClientTransport} in a browser, which sets no headers, picks no certificates and sends no pings. */
export type WebSocketClientOptions = BaseClientOptions;

/**
 * The client's end of MCP over WebSocket in a browser: an SDK `Transport` for the `Client` of SDK v1 and v2, in
 * both eras. One instance is one connection; to reconnect, make another.
 *
 * A page is not told why a server refuses the upgrade, nor that a network is gone while nothing is sent: `start`
 * rejects with `RpcError` `unavailable` whatever the reason, and noticing a silent server is left to requests
 * with a time limit, such as a client's health check.
 */
export class WebSocketClientTransport extends BaseClientTransport {
  /**
   * @param url - `wss://…`, or `ws://…` on a loopback host.
   * @throws ConfigurationError for a URL that is neither, or holds a credential, and for a value out of range.
   */
  constructor(url: string | URL, options: WebSocketClientOptions = {}) {
    super(url, options, { dial, crypto: nobleCrypto, headers: {} });
  }
}

function dial({ url, protocol, token, clock, maxFrameBytes, opened, failed }: Dialling): () => void {
  const credential = token === undefined ? [] : [TOKEN_SUBPROTOCOL_PREFIX + base64url(token)];
  const socket = new WebSocket(url, [protocol, ...credential]);
  // Also for one that opens and closes at once: only `onclose` is certain to come.
  socket.onclose = () => failed(new RpcError('unavailable', `No WebSocket connection to ${url.host}`));
  socket.onopen = () => {
    if (socket.protocol === protocol) opened(new BrowserSocket(socket, clock, maxFrameBytes), undefined);
    else failed(new RpcError('unavailable', `The server at ${url.host} does not speak ${protocol}`));
  };
  return () => {
    socket.onopen = null;
    socket.onclose = null;
    socket.close();
  };
}

function base64url(ascii: string): string {
  return btoa(ascii).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
