import { createServer } from 'node:http';
import { FastMCP } from 'fastmcp';
import { z } from 'zod';
import { echoResult, echoTools } from '../src/echo-tools.ts';

const silent = () => {};

const server = new FastMCP({
  name: 'bench',
  version: '1.0.0',
  logger: { debug: silent, error: silent, info: silent, log: silent, warn: silent },
});
for (const { name, description, input } of echoTools(z)) {
  server.addTool({ name, description, parameters: input, execute: async (args) => echoResult(args) });
}

// It does not tell which port it got: ask the system for a free one first.
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port: free } = probe.address();
    probe.close(() => resolve(free));
  });
});
const stateless = process.argv[2] !== 'sessions';
await server.start({ transportType: 'httpStream', httpStream: { port, host: '127.0.0.1', stateless, enableJsonResponse: true } });
console.log(JSON.stringify({ port }));
