import { type ListenerHost, RpcError } from '@mcp-blocks/core';
import { encryptedWebSocket, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';

const host: ListenerHost = {
  service: {
    info: { name: 'greeter', version: '1.0.0', capabilities: { tools: {} } },
    handler: async ({ params }, { principal }) => ({ content: [{ type: 'text', text: `${params.name}: hello, ${principal.id}` }] }),
  },
  authenticate: async (request) => {
    if (request.header('authorization') !== 'Bearer s3cret') throw new RpcError('unauthenticated', 'Present a token');
    return { id: 'ada', authentication: 'token', roles: [], scopes: [] };
  },
  audit: (event) => console.error(event),
  onError: (error) => console.error(error),
  connection: () => {},
  maxMessageBytes: 1_048_576,
  maxJsonDepth: 64,
  maxInFlight: 64,
};

const listener = encryptedWebSocket({ port: 0 });
await listener.listen(host);

const transport = new WebSocketClientTransport(listener.endpoint ?? '', { token: 's3cret' });
const client = new Client({ name: 'example', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(transport);
export const answer = await client.callTool({ name: 'greet', arguments: {} });

await client.close();
await listener.drain(5_000);
await listener.close();
