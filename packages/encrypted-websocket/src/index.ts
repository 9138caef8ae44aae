export { type ClientTlsOptions, type SessionInfo, type WebSocketClientOptions, WebSocketClientTransport } from './client-transport.js';
export { CLOSE_CODES, toCloseError } from './close-codes.js';
export { SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from './handshake.js';
export { type EncryptedWebSocketListener, encryptedWebSocket, type WebSocketServerMetrics } from './server-listener.js';
export type { EncryptedWebSocketOptions, ServerTlsOptions } from './server-options.js';
export type { TrafficMetrics } from './traffic.js';
