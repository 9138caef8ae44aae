import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  localhostHostValidation,
  localhostOriginValidation,
  type NodeIncomingMessageLike,
  NodeStreamableHTTPServerTransport,
  toNodeHandler,
} from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';

const tools = echoTools(z);

function buildServer(): McpServer {
  const server = new McpServer({ name: 'bench', version: '1.0.0' });
  for (const { name, description, input } of tools) {
    server.registerTool(name, { description, inputSchema: input }, async (args) => echoResult(args));
  }
  return server;
}

// As the SDK's guide has it on plain node:http: the Host and Origin checks in front of the handler.
const validHost = localhostHostValidation();
const validOrigin = localhostOriginValidation();

function stateless(): RequestListener {
  const handler = toNodeHandler(createMcpHandler(buildServer));
  return (request, response) => {
    if (validHost(request, response) && validOrigin(request, response)) void handler(request as NodeIncomingMessageLike, response);
  };
}

function sessions(): RequestListener {
  const transports = new Map<string, NodeStreamableHTTPServerTransport>();
  const open = async (request: IncomingMessage, response: ServerResponse) => {
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      enableJsonResponse: true,
      onsessioninitialized: (id) => void transports.set(id, transport),
    });
    transport.onclose = () => void transports.delete(transport.sessionId ?? '');
    await buildServer().connect(transport);
    await transport.handleRequest(request, response);
  };
  return (request, response) => {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? transports.get(id) : undefined;
    void (known === undefined ? open(request, response) : known.handleRequest(request, response));
  };
}

const server = createServer(process.argv[2] === 'sessions' ? sessions() : stateless());
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
