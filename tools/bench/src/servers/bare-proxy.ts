import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';

// A reverse proxy as short as one can be on Node: request and response go through as they come, over warm connections.
const pool = new Pool(new URL(process.argv[4] as string).origin, { connections: 64, pipelining: 1 });

const server = createServer((request, response) => {
  const { host: _hop, connection: _too, ...headers } = request.headers;
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    pool
      .stream(
        { path: request.url as string, method: 'POST', headers, body: Buffer.concat(chunks) },
        ({ statusCode, headers: { connection: _hopBack, 'keep-alive': _tooBack, ...back } }) => response.writeHead(statusCode, back),
      )
      .catch((error: Error) => response.destroy(error));
  });
});

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
