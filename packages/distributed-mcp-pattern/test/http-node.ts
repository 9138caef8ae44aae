import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createMcpHandler, type McpServerFactory } from '@modelcontextprotocol/server';

/** A real MCP server over HTTP, for tests. */
export interface HttpNode {
  readonly url: string;
  /** The `authorization` header of every request, in order. */
  readonly authorizations: (string | undefined)[];
  /** Every request that came, as `method name`. */
  readonly requests: string[];
  /** What HTTP answers instead of MCP, for a while. */
  answerWith: { readonly status: number; readonly body?: string } | undefined;
  /** Cuts every connection and stops listening. */
  kill(): Promise<void>;
}

/** Serves an SDK server in both eras, statelessly, on a free port or the one given. */
export async function startHttpNode(factory: McpServerFactory, port = 0): Promise<HttpNode> {
  const handler = createMcpHandler(factory);
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request);
    node.authorizations.push(request.headers.authorization);
    const message = body === '' ? {} : (JSON.parse(body) as { method?: string; params?: { name?: string } });
    node.requests.push([message.method, message.params?.name].filter((part) => part !== undefined).join(' '));
    if (node.answerWith !== undefined) {
      response.writeHead(node.answerWith.status, { 'content-type': 'application/json' }).end(node.answerWith.body ?? '');
      return;
    }
    const abort = new AbortController();
    response.once('close', () => abort.abort());
    const answer = await handler.fetch(
      new Request(`http://${request.headers.host}${request.url}`, {
        method: request.method ?? 'GET',
        headers: request.headers as Record<string, string>,
        ...(body === '' ? {} : { body }),
        signal: abort.signal,
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    try {
      for await (const chunk of answer.body ?? []) response.write(chunk);
    } catch {
      // The caller has gone.
    }
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const node: HttpNode = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    authorizations: [],
    requests: [],
    answerWith: undefined,
    async kill() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await handler.close();
      await closed;
    },
  };
  return node;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}
