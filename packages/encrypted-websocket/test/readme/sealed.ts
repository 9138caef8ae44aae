import { type ListenerHost, RpcError } from '@mcp-blocks/core';
import { encryptedWebSocket, generateNoiseKeys, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';

const server = generateNoiseKeys();
const laptop = generateNoiseKeys();

const host: ListenerHost = {
  service: {
    info: { name: 'greeter', version: '1.0.0', capabilities: { tools: {} } },
    handler: async (_request, { principal }) => ({ content: [{ type: 'text', text: `hello, ${principal.id}` }] }),
  },
  authenticate: async ({ clientKey }) => {
    if (clientKey !== laptop.publicKey) throw new RpcError('unauthenticated', 'Use a key that is known here');
    return { id: "ada's laptop", authentication: 'client-key', roles: [], scopes: [] };
  },
  audit: (event) => console.error(event),
  onError: (error) => console.error(error),
  connection: () => {},
  maxMessageBytes: 1_048_576,
  maxJsonDepth: 64,
  maxInFlight: 64,
};

const protocol = 'Noise_IK_25519_AESGCM_SHA256';
const listener = encryptedWebSocket({ port: 0, noise: { protocols: [protocol], privateKey: server.privateKey } });
await listener.listen(host);

const noise = { protocol, serverPublicKey: server.publicKey, privateKey: laptop.privateKey } as const;
const transport = new WebSocketClientTransport(listener.endpoint ?? '', { noise });
const client = new Client({ name: 'example', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(transport);
export const answer = await client.callTool({ name: 'greet', arguments: {} });
export const session = transport.getSessionInfo();

await client.close();
await listener.drain(5_000);
await listener.close();
