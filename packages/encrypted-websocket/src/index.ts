export type { SessionInfo } from './base-client-transport.js';
export { type ClientTlsOptions, type WebSocketClientOptions, WebSocketClientTransport } from './client-transport.js';
export { CLOSE_CODES, toCloseError } from './close-codes.js';
export type { DeflateOptions } from './deflate.js';
export { type EncryptedWebSocketListener, encryptedWebSocket, type WebSocketServerMetrics } from './server-listener.js';
export type { EncryptedWebSocketOptions } from './server-options.js';
export { SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from './subprotocols.js';
export type { TrafficMetrics } from './traffic.js';
