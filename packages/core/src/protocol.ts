/** The current MCP revision: stateless, one `_meta` envelope per request, `server/discover`. */
export const MODERN_PROTOCOL_VERSION = '2026-07-28';

/** The last MCP revision with the `initialize` handshake and sessions. */
export const LEGACY_PROTOCOL_VERSION = '2025-11-25';

/**
 * The two families of MCP revisions. `modern` is 2026-07-28 and later, `legacy` everything with an
 * `initialize` handshake before it.
 */
export type ProtocolEra = 'modern' | 'legacy';

/** The era a protocol version belongs to. Versions are ISO dates, so they compare as text. */
export function eraOf(protocolVersion: string): ProtocolEra {
  return protocolVersion >= MODERN_PROTOCOL_VERSION ? 'modern' : 'legacy';
}

/** Reserved `_meta` keys of the 2026-07-28 request envelope (spec: basic/index, `_meta`). */
export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  logLevel: 'io.modelcontextprotocol/logLevel',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
  /** Ours: names the one effect a request may have, however often it is delivered. */
  idempotencyKey: 'io.mcp-blocks/idempotencyKey',
  /** Ours: keeps the idempotency keys apart of those who call through one gateway, which sets it. */
  idempotencyScope: 'io.mcp-blocks/idempotencyScope',
  /** Ours: the version of a listed tool, resource, template or prompt. */
  version: 'io.mcp-blocks/version',
  /** Ours: a client's cache answered, and this many milliseconds ago the result stopped being fresh. */
  staleForMs: 'io.mcp-blocks/staleForMs',
} as const;
