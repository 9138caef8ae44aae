import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';

// What clients are measured against: HTTP at /mcp and WebSocket at /ws, on one port.
const registry = new AuthenticatedToolRegistry({ name: 'bench', version: '1.0.0' });
for (const { name, description, input } of echoTools(z)) {
  const annotations = { readOnlyHint: name === 'echo' };
  registry.tool(name, { description, input, annotations, access: { allowAnonymous: true } }, (args) => echoResult(args));
}

const listener = http({ port: 0, upgrades: [encryptedWebSocket()] });
const server = new SecureMCPServer({ service: registry, allowAnonymous: true, listeners: [listener] });
await server.start();
console.log(JSON.stringify({ port: Number(new URL(listener.endpoint as string).port) }));
