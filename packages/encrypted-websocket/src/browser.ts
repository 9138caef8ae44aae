export { type WebSocketClientOptions, WebSocketClientTransport } from './browser-client-transport.js';
export { generateNoiseKeys, noisePublicKey } from './browser-noise-keys.js';
export { CLOSE_CODES, toCloseError } from './close-codes.js';
export type { NoiseKeyPair } from './noise/keys.js';
export type { NoiseClientOptions } from './noise/noise-endpoint.js';
export type { NoiseProtocolName } from './noise/protocol-name.js';
export type { SessionInfo } from './session-info.js';
export { SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from './subprotocols.js';
export type { TrafficMetrics } from './traffic.js';
