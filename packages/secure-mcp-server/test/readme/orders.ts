import { hostSdkServer } from '@mcp-blocks/core/sdk';
import { http, jwt, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

// The server you have, as it is.
const orders = () => {
  const server = new McpServer({ name: 'orders', version: '1.0.0' });
  server.registerTool('order_status', { inputSchema: z.object({ id: z.string() }) }, async ({ id }) => ({
    content: [{ type: 'text', text: `Order ${id} has shipped` }],
  }));
  return server;
};

export const server = new SecureMCPServer({
  service: await hostSdkServer(orders),
  authenticators: [jwt({ key: process.env.JWT_SECRET ?? '', algorithms: ['HS256'], issuer: 'https://login.example', audience: 'orders' })],
  listeners: [http({ port: Number(process.env.PORT ?? 8080) })],
});
await server.start();
process.once('SIGTERM', () => void server.drain(30_000).then(() => server.stop()));
