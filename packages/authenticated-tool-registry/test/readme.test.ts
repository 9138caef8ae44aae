import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { expect, it } from 'vitest';

it('the first example of the README is a server that does what the README says', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const program = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  // Inside the package, so that its dependencies are found.
  const folder = await mkdtemp(path.join(import.meta.dirname, '.readme-'));
  try {
    await writeFile(path.join(folder, 'server.ts'), program);
    const resolution = new URL('typescript-resolution.mjs', import.meta.url).href;
    const args = [
      '--disable-warning=ExperimentalWarning',
      '--conditions=@mcp-blocks/source',
      '--import',
      resolution,
      path.join(folder, 'server.ts'),
    ];
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new StdioClientTransport({ command: process.execPath, args }));
    try {
      expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(['lookup_order']);
      const call = async (id: unknown) => (await client.callTool({ name: 'lookup_order', arguments: { id } })).content;
      expect(await call('17')).toEqual([{ type: 'text', text: 'shipped' }]);
      expect(await call('18')).toEqual([{ type: 'text', text: 'There is no order 18' }]);
      await expect(client.callTool({ name: 'cancel_order', arguments: { id: '17' } })).rejects.toMatchObject({
        code: -32602,
        message: expect.stringContaining('Unknown tool: cancel_order'),
      });
    } finally {
      await client.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
