import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as V1HttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { invitation } from '../src/demo/invitation.js';
import type { Stack } from '../src/stack.js';
import { type Ready, startReady } from './running-demo.js';

const run = promisify(execFile);
let demo: Ready & { stop(): Promise<number | null> };
beforeAll(async () => {
  demo = await startReady();
}, 60_000);
afterAll(async () => {
  await demo.stop();
});

const bearer = () => ({ authorization: `Bearer ${demo.tokens.analyst}` });
const EXPECTED = ['current_weather', 'list_files', 'query_orders', 'read_file', 'storm_warning'];

/** What every peer must see, whatever it is and however it came. */
async function useAsAnyPeer(client: Client | V1Client): Promise<void> {
  const { tools } = await client.listTools();
  expect(tools.map((tool) => tool.name).sort()).toEqual(EXPECTED);
  const result = await client.callTool({ name: 'query_orders', arguments: { sql: 'SELECT count(*) AS n FROM orders' } });
  expect(result.structuredContent).toEqual({ rows: [{ n: 5 }], truncated: false });
  expect((await client.readResource({ uri: 'db://orders/1002' })).contents[0]).toMatchObject({ uri: 'db://orders/1002' });
  expect((await client.getPrompt({ name: 'packing_advice', arguments: { city: 'Berlin' } })).messages).toHaveLength(1);
  await expect(client.callTool({ name: 'change_orders', arguments: { sql: 'DELETE FROM orders' } })).rejects.toMatchObject({
    code: -32602,
  });
}

describe.each(['auto', 'legacy'] as const)('the SDK v2 client in mode %s', (mode) => {
  it.each(['http', 'ws'] as const)('uses the gateway over %s', async (kind) => {
    const client = new Client({ name: 'peer', version: '2' }, { versionNegotiation: { mode } });
    const transport =
      kind === 'http'
        ? new StreamableHTTPClientTransport(new URL(demo.endpoints.http), { requestInit: { headers: bearer() } })
        : new WebSocketClientTransport(demo.endpoints.ws, { token: demo.tokens.analyst });
    await client.connect(transport);
    await useAsAnyPeer(client);
    await client.close();
  });
});

describe('the SDK v1 client', () => {
  it.each(['http', 'ws'] as const)('uses the gateway over %s', async (kind) => {
    const client = new V1Client({ name: 'peer', version: '1' });
    const transport =
      kind === 'http'
        ? new V1HttpTransport(new URL(demo.endpoints.http), { requestInit: { headers: bearer() } })
        : new WebSocketClientTransport(demo.endpoints.ws, { token: demo.tokens.analyst });
    await client.connect(transport as never);
    await useAsAnyPeer(client);
    await client.close();
  });
});

it('the Inspector CLI lists the tools', async () => {
  const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json');
  const { bin } = (await import(manifest, { with: { type: 'json' } })).default as { bin: Record<string, string> };
  const args = [
    '--cli',
    demo.endpoints.http,
    '--transport',
    'http',
    '--header',
    `Authorization: Bearer ${demo.tokens.analyst}`,
    '--method',
    'tools/list',
  ];
  const { stdout } = await run(process.execPath, [join(dirname(manifest), bin['mcp-inspector'] as string), ...args]);
  expect((JSON.parse(stdout) as { tools: { name: string }[] }).tools.map((tool) => tool.name).sort()).toEqual(EXPECTED);
}, 60_000);

it('the curl line of the invitation works as it is', async () => {
  const text = invitation({ endpoints: demo.endpoints, tokens: demo.tokens } as Stack);
  const token = /^TOKEN=.*$/m.exec(text)?.[0];
  const curl = /curl -s [\s\S]*?'\n\n/.exec(text)?.[0];
  const { stdout } = await run('bash', ['-c', `${token}\n${curl}`]);
  expect(JSON.parse(stdout)).toMatchObject({ result: { structuredContent: { city: 'Lisbon', source: 'bundled' } } });
});
