import { createServer } from 'node:http';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Server } from '@modelcontextprotocol/server';
import { proxyServer, startHTTPServer } from 'mcp-proxy';

// Its command starts stdio servers only; its functions take any client, so also one of an HTTP server.
const client = new Client({ name: 'mcp-proxy', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[4])));
const serverCapabilities = client.getServerCapabilities() ?? {};

// It does not tell which port it got: ask the system for a free one first.
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port: free } = probe.address();
    probe.close(() => resolve(free));
  });
});
await startHTTPServer({
  port,
  host: '127.0.0.1',
  sseEndpoint: null,
  cors: false,
  eventStore: false,
  enableJsonResponse: true,
  createServer: async () => {
    const server = new Server({ name: 'mcp-proxy', version: '1.0.0' }, { capabilities: serverCapabilities });
    await proxyServer({ client, server, serverCapabilities });
    return server;
  },
});
console.log(JSON.stringify({ port }));
