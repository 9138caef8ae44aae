import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';
import { echoResult, echoTools } from '../src/echo-tools.ts';

const tools = echoTools(z);

function buildServer() {
  const server = new McpServer({ name: 'bench', version: '1.0.0' });
  for (const { name, description, input } of tools) {
    server.registerTool(name, { description, inputSchema: input }, async (args) => echoResult(args));
  }
  return server;
}

/** As the SDK's stateless example: a server and a transport per request. */
async function stateless(request, response) {
  const server = buildServer();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on('close', () => void server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
}

const transports = new Map();

async function sessions(request, response) {
  let transport = transports.get(request.headers['mcp-session-id']);
  if (transport === undefined) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      enableJsonResponse: true,
      onsessioninitialized: (id) => transports.set(id, transport),
    });
    transport.onclose = () => transports.delete(transport.sessionId);
    await buildServer().connect(transport);
  }
  await transport.handleRequest(request, response);
}

const server = createServer(process.argv[2] === 'sessions' ? sessions : stateless);
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
