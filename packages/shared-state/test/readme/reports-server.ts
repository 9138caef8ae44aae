import { createStateStore } from '@mcp-blocks/shared-state';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

// One store for all processes that serve this: here a file, with `provider: 'redis'` any number of machines.
export const state = await createStateStore({ provider: 'sqlite', endpoints: [process.env.STATE_FILE ?? 'state.sqlite'] });

// The server you have. Since 2026-07-28 an instance lives for one request, so what it remembers lives elsewhere.
export const { fetch } = createMcpHandler(() => {
  const server = new McpServer({ name: 'reports', version: '1.0.0' });
  server.registerTool('start_report', { inputSchema: z.object({ month: z.string() }) }, async ({ month }) => {
    const lock = await state.acquireLock(`report:${month}`, 60_000);
    if (lock === undefined) return { content: [{ type: 'text', text: `The report for ${month} is being made by somebody else` }] };
    const number = await state.increment('reports', 1);
    await state.set(`report:${month}`, { number }, { ttlMs: 24 * 3_600_000 });
    return { content: [{ type: 'text', text: `Report ${number} is for ${month}` }] };
  });
  return server;
});
