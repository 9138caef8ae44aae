import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { echoTools } from '../echo-tools.ts';

// The node behind every gateway that is measured. It does as little as MCP 2026-07-28 allows, so that the figures are
// those of what stands in front of it: no checks, no framework, its list made beforehand.
const tools = echoTools(z).map(({ name, description, input }) => ({ name, description, inputSchema: z.toJSONSchema(input) }));
const base = { resultType: 'complete', _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'node', version: '1.0.0' } } };
const cached = { ...base, ttlMs: 60_000, cacheScope: 'public' };
const ANSWERS: Readonly<Record<string, object>> = {
  'server/discover': { ...cached, supportedVersions: ['2026-07-28'], capabilities: { tools: {} } },
  'tools/list': { ...cached, tools },
};

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params: { readonly arguments?: { readonly text: string } };
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message;
    const result = method === 'tools/call' ? { ...base, content: [{ type: 'text', text: params.arguments?.text }] } : ANSWERS[method];
    const answer = result === undefined ? { error: { code: -32601, message: 'Method not found' } } : { result };
    const body = JSON.stringify({ jsonrpc: '2.0', id, ...answer });
    response.writeHead(result === undefined ? 404 : 200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
