export type { SessionInfo } from './base-client-transport.js';
export { type WebSocketClientOptions, WebSocketClientTransport } from './browser-client-transport.js';
export { CLOSE_CODES, toCloseError } from './close-codes.js';
export { SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from './subprotocols.js';
export type { TrafficMetrics } from './traffic.js';
