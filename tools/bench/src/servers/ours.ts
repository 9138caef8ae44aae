import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';

const registry = new AuthenticatedToolRegistry({ name: 'bench', version: '1.0.0' });
for (const { name, description, input } of echoTools(z)) {
  registry.tool(name, { description, input, access: { allowAnonymous: true } }, (args) => echoResult(args));
}

const listener = http({ port: 0 });
const server = new SecureMCPServer({ service: registry, allowAnonymous: true, listeners: [listener] });
await server.start();
console.log(JSON.stringify({ port: Number(new URL(listener.endpoint as string).port) }));
