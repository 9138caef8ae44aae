import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';
import { kindOf, NOISE_KEYS, serverTls } from '../websocket/kinds.ts';

// A whole server, for what a connection takes of its memory.
const kind = kindOf(process.argv[4] as string);
const registry = new AuthenticatedToolRegistry({ name: 'bench', version: '1.0.0' });
for (const { name, description, input } of echoTools(z)) {
  registry.tool(name, { description, input, access: { allowAnonymous: true } }, (args) => echoResult(args));
}
const listener = encryptedWebSocket({
  port: 0,
  maxConnections: 20_000,
  ...(kind.tls ? { tls: serverTls() } : {}),
  ...(kind.noise === undefined ? {} : { noise: { protocols: [kind.noise], privateKey: NOISE_KEYS.privateKey } }),
});
const server = new SecureMCPServer({ service: registry, allowAnonymous: true, listeners: [listener], limits: { maxConnections: 20_000 } });
await server.start();
console.log(JSON.stringify({ port: Number(new URL(listener.endpoint as string).port), path: '/ws' }));
