export { type ApiKeyEntry, type ApiKeysOptions, apiKeys, generateApiKey, hashApiKey } from './authenticators/api-keys.js';
export { type JwtAlgorithm, type JwtOptions, jwt } from './authenticators/jwt.js';
export { HttpListener, http } from './http/listener.js';
export type { HttpOptions, TlsOptions } from './http/options.js';
export type { SessionOptions } from './http/sessions.js';
export type { ServerLimits } from './limits.js';
export { SecureMCPServer, type SecureMCPServerOptions, type ServerMetrics } from './secure-mcp-server.js';
export type { RequestEvent, ServerEvents, ServerStatus } from './server-events.js';
