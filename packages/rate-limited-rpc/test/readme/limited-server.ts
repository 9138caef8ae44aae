import { compose, type Principal } from '@mcp-blocks/core';
import { hostSdkServer, toAuthInfo, toSdkFactory } from '@mcp-blocks/core/sdk';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';

// A server you did not write and cannot change.
const factory = () => {
  const server = new McpServer({ name: 'clock', version: '1.0.0' });
  server.registerTool('now', {}, async () => ({ content: [{ type: 'text', text: new Date().toISOString() }] }));
  return server;
};

export const limiter = new RateLimitedRPC({
  limits: [
    { by: 'principal', requests: 100, windowMs: 60_000 },
    { by: 'principal+tool', requests: 2, windowMs: 1_000, tools: ['now'] },
  ],
});
const service = await hostSdkServer(factory);
const handler = createMcpHandler(toSdkFactory({ ...service, handler: compose(service.handler, [limiter.middleware]) }));

/** The web-standard handler you had before; `principal` is whoever you have authenticated the request for. */
export const fetch = (request: Request, principal: Principal) =>
  handler.fetch(request, { authInfo: toAuthInfo({ principal, transport: 'http' }) });
