import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

/** A real server of the SDK v1 over Streamable HTTP with sessions, for tests. */
export interface LegacyNode {
  readonly url: string;
  /** The `authorization` header of every request, in order. */
  readonly authorizations: (string | undefined)[];
  /** Every request that came, as its method. */
  readonly requests: string[];
  /** The server of each session, by its id. */
  readonly sessions: ReadonlyMap<string, McpServer>;
  kill(): Promise<void>;
}

export async function startLegacyNode(factory: () => McpServer): Promise<LegacyNode> {
  const transports = new Map<string, StreamableHTTPServerTransport>();
  const sessions = new Map<string, McpServer>();
  const authorizations: (string | undefined)[] = [];
  const requests: string[] = [];
  const http = createServer(async (request, response) => {
    const body = await bodyOf(request);
    authorizations.push(request.headers.authorization);
    const message = body === '' ? undefined : (JSON.parse(body) as { method?: string });
    requests.push(message?.method ?? (request.method as string));
    const id = request.headers['mcp-session-id'];
    let transport = typeof id === 'string' ? transports.get(id) : undefined;
    if (transport === undefined) {
      if (message?.method !== 'initialize') {
        const error = { code: -32000, message: 'Bad Request: no session' };
        response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
        return;
      }
      const server = factory();
      const opened = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (sessionId) => {
          transports.set(sessionId, opened);
          sessions.set(sessionId, server);
        },
        onsessionclosed: (sessionId) => {
          transports.delete(sessionId);
          sessions.delete(sessionId);
        },
      });
      transport = opened;
      await server.connect(opened as never);
    }
    await transport.handleRequest(request, response, message);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    authorizations,
    requests,
    sessions,
    async kill() {
      const closed = new Promise((resolve) => http.close(resolve));
      http.closeAllConnections();
      await Promise.all([...transports.values()].map((transport) => transport.close()));
      await closed;
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}
