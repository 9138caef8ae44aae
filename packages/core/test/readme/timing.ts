import { compose, type RpcMiddleware } from '@mcp-blocks/core';
import { hostSdkServer, toSdkFactory } from '@mcp-blocks/core/sdk';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';

const service = await hostSdkServer(() => {
  const server = new McpServer({ name: 'clock', version: '1.0.0' });
  server.registerTool('now', { description: 'The time' }, async () => ({ content: [{ type: 'text', text: new Date().toISOString() }] }));
  return server;
});

export const timings: string[] = [];
const timing: RpcMiddleware = (next) => async (request, context) => {
  const start = performance.now();
  try {
    return await next(request, context);
  } finally {
    timings.push(`${context.principal.id} ${request.method} ${(performance.now() - start).toFixed(1)} ms`);
  }
};

export const { fetch } = createMcpHandler(toSdkFactory({ ...service, handler: compose(service.handler, [timing]) }));
