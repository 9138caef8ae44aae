import { readFileSync } from 'node:fs';
import { testContext } from '@mcp-blocks/core/testing';
import { McpServer } from '@modelcontextprotocol/server';
import { afterEach, expect, it } from 'vitest';
import { z } from 'zod';
import { type HttpNode, startHttpNode } from './http-node.js';
import { startGateway } from './readme/cluster.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const open: HttpNode[] = [];
afterEach(() => Promise.all(open.splice(0).map((node) => node.kill())));

it("the README's example is the program that is tested here", () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/cluster.ts')}\`\`\``);
});

it("the README's example serves two nodes as one", async () => {
  const factory = () => {
    const server = new McpServer({ name: 'orders', version: '1' });
    server.registerTool('count', { inputSchema: z.object({}) }, async () => ({ content: [{ type: 'text', text: '42' }] }));
    return server;
  };
  open.push(await startHttpNode(factory), await startHttpNode(factory));
  const { cluster, gateway } = await startGateway(
    open.map(({ url }) => url),
    async () => 'own-token',
  );
  const result = await gateway.handler({ method: 'tools/call', params: { name: 'count' } }, testContext());
  expect(result).toMatchObject({ content: [{ text: '42' }] });
  expect(cluster.getServiceNodes().map(({ id }) => id)).toEqual(['node-1', 'node-2']);
  for (const node of open) expect(new Set(node.authorizations)).toEqual(new Set(['Bearer own-token']));
  await cluster.close();
});
