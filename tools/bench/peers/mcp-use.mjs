import { MCPServer } from 'mcp-use';
import { z } from 'zod';
import { echoResult, echoTools } from '../src/echo-tools.ts';

const server = new MCPServer({ name: 'bench', version: '1.0.0', logging: { enabled: false }, skills: false });
for (const { name, description, input } of echoTools(z)) {
  server.tool({ name, description, inputSchema: input }, async (args) => echoResult(args));
}

const { port } = await server.listen(0, { host: '127.0.0.1' });
console.log(JSON.stringify({ port }));
