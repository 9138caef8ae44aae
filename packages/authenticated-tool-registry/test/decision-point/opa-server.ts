import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** What a stand-in answers. */
export interface OpaReply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: string;
}

/** A stand-in for an OPA server: speaks the documented form of the Data API and evaluates a function. */
export async function startOpaServer(answer: (input: never, request: IncomingMessage) => OpaReply | 'never') {
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const isQuestion = request.method === 'POST' && request.headers['content-type'] === 'application/json';
      const reply = isQuestion ? answer((JSON.parse(body) as { input: never }).input, request) : { status: 405, body: '{}' };
      if (reply === 'never') return;
      response.writeHead(reply.status ?? 200, reply.headers ?? { 'content-type': 'application/json' }).end(reply.body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
