export type { ConnectorEnvironment, MCPClientConfig, RequestOptions } from './config.js';
export {
  type Answer,
  type Connection,
  type ConnectionEvents,
  ConnectionLostError,
  type Connector,
  type SendOptions,
} from './connection.js';
export type { ConnectionState } from './connection-manager.js';
export { networkConnectors, sdkConnector } from './connectors.js';
export { type ConnectionStatus, type MCPClientEvents, MCPClientPattern } from './mcp-client-pattern.js';
export type { MCPClientMetrics } from './metrics.js';
export type { CacheStats } from './response-cache.js';
export type { ProtocolOptions, TransportFacts } from './sdk-connection.js';
export type { TokenOption } from './token-source.js';
