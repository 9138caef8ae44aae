import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { generateApiKey, hashApiKey } from '@mcp-blocks/secure-mcp-server';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { expect, it } from 'vitest';
import { start } from './running-demo.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const README = read('../../../README.md');

it("the README's example is the program that is tested here, and serves HTTP and WebSocket", async () => {
  expect(README).toContain(`\`\`\`ts\n${read('./readme/orders.ts')}\`\`\``);
  const folder = mkdtempSync(join(tmpdir(), 'readme-'));
  const key = generateApiKey();
  Object.assign(process.env, { AUDIT_FILE: join(folder, 'audit.jsonl'), PORT: '0', SUPPORT_BOT_KEY_HASH: hashApiKey(key) });
  const { server } = await import('./readme/orders.js');
  const url = server.endpoints.find((endpoint) => endpoint.startsWith('http')) as string;
  for (const transport of [
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { 'x-api-key': key } } }),
    new WebSocketClientTransport(url.replace('http', 'ws').replace('/mcp', '/ws'), { headers: { 'x-api-key': key } }),
  ]) {
    const client = new Client({ name: 'readme', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(transport);
    const result = await client.callTool({ name: 'lookup_order', arguments: { id: '7' } });
    expect(result.content).toEqual([{ type: 'text', text: 'Order 7 has left the warehouse' }]);
    await client.close();
  }
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** What differs between two runs: ports, processes, times, counts of records. */
const shape = (output: string) => output.replaceAll(/\d+/g, 'N').trim();

it("the README shows the demo's real output", async () => {
  const { exit, output } = start({}, '--once', '--port', '0');
  await exit;
  const shown = /```text\n([\s\S]*?)```/.exec(README)?.[1] ?? '';
  expect(shape(shown)).toBe(shape(output()));
}, 60_000);
