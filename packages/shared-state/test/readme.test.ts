import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { expect, it } from 'vitest';
import { createStateStore } from '../src/index.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it("the README's first example is the program that is tested here: work is shared with other processes", async () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/reports-server.ts')}\`\`\``);
  const folder = mkdtempSync(join(tmpdir(), 'shared-state-'));
  process.env.STATE_FILE = join(folder, 'state.sqlite');
  const { fetch, state } = await import('./readme/reports-server.js');
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), {
      fetch: (url: string | URL, init?: RequestInit) => fetch(new Request(url, init)),
    }),
  );
  const start = async (month: string) => (await client.callTool({ name: 'start_report', arguments: { month } })).content;
  expect(await start('2026-10')).toEqual([{ type: 'text', text: 'Report 1 is for 2026-10' }]);
  expect(await start('2026-10')).toEqual([{ type: 'text', text: 'The report for 2026-10 is being made by somebody else' }]);
  const elsewhere = await createStateStore({ provider: 'sqlite', endpoints: [process.env.STATE_FILE] });
  expect(await elsewhere.get('report:2026-10')).toEqual({ number: 1 });
  await Promise.all([client.close(), elsewhere.close(), state.close()]);
  rmSync(folder, { recursive: true });
});
