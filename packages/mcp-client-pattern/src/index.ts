export { AmbiguousOutcomeError, type AmbiguousReason } from './ambiguous-outcome-error.js';
export type {
  AuthorizationCodeOptions,
  AuthorizationRequest,
  ClientCredentialsOptions,
  OAuthOptions,
  OAuthStorage,
  PrivateKeyJwtOptions,
} from './auth/oauth-options.js';
export type { BatchItem, BatchResult } from './batch.js';
export { CacheStore, type CacheStoreOptions } from './cache-store.js';
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
export type { ConnectionStatus, ListChange, MCPClientEvents } from './events.js';
export type { Health } from './health-state.js';
export type { InputContext, InputHandler, InputHandlers } from './input-handlers.js';
export type { LatencyPercentiles } from './latency-meter.js';
export { MCPClientPattern } from './mcp-client-pattern.js';
export { MCPClients, type MCPClientsOptions } from './mcp-clients.js';
export type { MCPClientMetrics } from './metrics.js';
export type { Retry } from './request-scheduler.js';
export type { ResourceChange, ResourceListener } from './resource-subscriptions.js';
export type { CacheEvent, CacheStats } from './response-cache.js';
export type { ProtocolOptions, TransportFacts } from './sdk-connection.js';
export type { TokenOption } from './token-source.js';
