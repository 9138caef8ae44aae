import { createServer } from 'node:http';
import { createRequestListener } from '@remix-run/node-fetch-server';
import { ZodJsonSchemaAdapter } from '@tmcp/adapter-zod';
import { HttpTransport } from '@tmcp/transport-http';
import { McpServer } from 'tmcp';
import { z } from 'zod';
import { echoResult, echoTools } from '../src/echo-tools.ts';

const server = new McpServer(
  { name: 'bench', version: '1.0.0', description: 'A benchmark.' },
  { adapter: new ZodJsonSchemaAdapter(), capabilities: { tools: { listChanged: true } } },
);
for (const { name, description, input } of echoTools(z)) {
  server.tool({ name, description, schema: input }, async (args) => echoResult(args));
}

const transport = new HttpTransport(server, { path: '/mcp' });
const listener = createRequestListener(async (request) => (await transport.respond(request)) ?? new Response(null, { status: 404 }));
const httpServer = createServer(listener);
httpServer.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: httpServer.address().port })));
