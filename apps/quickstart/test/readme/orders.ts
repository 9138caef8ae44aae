import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { apiKeys, http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';

const audit = new FileAuditSink({ path: process.env.AUDIT_FILE ?? 'audit.jsonl' });

const registry = new AuthenticatedToolRegistry({ name: 'orders', version: '1.0.0', audit });
registry.tool(
  'lookup_order',
  { description: 'Finds an order', input: z.object({ id: z.string() }), access: { roles: ['agent'] } },
  ({ id }) => `Order ${id} has left the warehouse`,
);

export const server = new SecureMCPServer({
  service: registry,
  middleware: [new RateLimitedRPC({ limits: [{ by: 'principal', requests: 100, windowMs: 60_000 }], audit }).middleware],
  authenticators: [
    apiKeys({ keys: [{ id: 'support-bot', hash: process.env.SUPPORT_BOT_KEY_HASH ?? '', principal: { roles: ['agent'] } }] }),
  ],
  listeners: [http({ port: Number(process.env.PORT ?? 8080), upgrades: [encryptedWebSocket({ path: '/ws' })] })],
  audit,
});
await server.start();
