import { readFileSync } from 'node:fs';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { expect, it, vi } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it("the README's example is the program that is tested here", () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/resilient-client.ts')}\`\`\``);
});

it("the README's example calls a tool over the server's WebSocket", async () => {
  const web = http({ port: 0, upgrades: [encryptedWebSocket()] });
  const server = new SecureMCPServer({
    allowAnonymous: true,
    listeners: [web],
    service: {
      info: { name: 'example', version: '1.0.0', capabilities: { tools: {} } },
      handler: async ({ method, params }, { transport }) =>
        method === 'tools/list'
          ? { tools: [{ name: 'critical.operation', inputSchema: { type: 'object' } }] }
          : { content: [{ type: 'text', text: `${transport} ${JSON.stringify(params.arguments)}` }] },
    },
  });
  await server.start();
  vi.stubEnv('MCP_SERVER_URL', new URL(web.endpoint ?? '').origin);
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  try {
    const { tools, result, metrics } = await import('./readme/resilient-client.js');
    expect(tools.map(({ name }) => name)).toEqual(['critical.operation']);
    expect(result.content).toEqual([{ type: 'text', text: 'websocket {"amount":42}' }]);
    expect(metrics).toMatchObject({ totalRequests: 2, successfulRequests: 2, fallbacks: 0 });
    expect(log).toHaveBeenCalledWith('MCP: connected websocket');
  } finally {
    vi.unstubAllEnvs();
    await server.stop();
  }
});
