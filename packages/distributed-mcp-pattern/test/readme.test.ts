import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testContext } from '@mcp-blocks/core/testing';
import { McpServer } from '@modelcontextprotocol/server';
import { afterEach, expect, it } from 'vitest';
import { z } from 'zod';
import { connect, folder, GatewayCommand } from './cli/gateway-process.js';
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

it("the README's gateway without code serves what its file says", { timeout: 300_000 }, async () => {
  const text = read('./readme/gateway.json');
  expect(read('../README.md')).toContain(`\`\`\`json\n${text}\`\`\``);
  const orders = await startHttpNode(() => {
    const server = new McpServer({ name: 'orders', version: '1' });
    server.registerTool('count', { inputSchema: z.object({}) }, async () => ({ content: [{ type: 'text', text: '42' }] }));
    return server;
  });
  open.push(orders);
  const place = folder();
  writeFileSync(join(place, 'gateway.json'), text.replace('8080', '0'));
  writeFileSync(join(place, 'files-server.mjs'), `import ${JSON.stringify(new URL('./fixtures/stdio-v2.mjs', import.meta.url).href)};`);
  const command = new GatewayCommand(['gateway', '--config', join(place, 'gateway.json')], {
    AGENT_KEY: 'the-key-of-an-agent',
    ORDERS_TOKEN: 'the-token-for-orders',
    ORDERS_URL: orders.url,
  });
  const client = await connect((await command.endpoints())[0] as string, { apiKey: 'the-key-of-an-agent' });
  expect(await client.callTool({ name: 'count' })).toMatchObject({ content: [{ text: '42' }] });
  expect(await client.callTool({ name: 'pid' })).toMatchObject({ content: [{ text: expect.stringMatching(/^\d+$/) }] });
  expect(new Set(orders.authorizations)).toEqual(new Set(['Bearer the-token-for-orders']));
  command.child.kill('SIGTERM');
  expect(await command.ended).toEqual({ code: 0, signal: null });
});
