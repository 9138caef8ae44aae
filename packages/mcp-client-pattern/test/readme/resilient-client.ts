import { type MCPClientConfig, MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';

const config: MCPClientConfig = {
  serverUrl: process.env.MCP_SERVER_URL ?? 'https://mcp.example.com',
  enableWebSocket: true,
  enableHttpFallback: true,
  enableReconnection: true,
  enableCaching: true,
  reconnectOptions: { maxAttempts: 10, initialDelay: 1000, maxDelay: 30000, backoffMultiplier: 1.5 },
  cacheOptions: { maxSize: 1000, defaultTTL: 300000 }, // 5 minutes
};

await using client = new MCPClientPattern(config);
client.on('statusChange', ({ state, transport }) => console.error(`MCP: ${state} ${transport ?? ''}`));

export const { tools } = await client.listTools();

// A high-priority request
export const result = await client.request(
  'tools/call',
  { name: 'critical.operation', arguments: { amount: 42 } },
  { priority: 3, timeout: 60000, useCache: false },
);
export const metrics = client.getMetrics();
