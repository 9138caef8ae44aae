import { spawnSync } from 'node:child_process';
import { builtinModules } from 'node:module';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { bundle } from './bundle.js';

/** Most that the client may add to a page which has the SDK's client, compressed. */
const BUDGET_BYTES = 56 * 1024;

const CLIENT = "export { MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';";
const SDK = "export { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';";

const foreign = (id: string) => id === 'ws' || id.startsWith('node:') || builtinModules.includes(id);
const compressedBytes = (code: string) => gzipSync(code).length;

describe('a bundle for browsers', () => {
  it.each([
    ['the client', CLIENT, 'MCPClientPattern'],
    ['MCPClients', "export { MCPClients } from '@mcp-blocks/mcp-client-pattern';", 'MCPClients'],
    ['the hooks', "export { useTool } from '@mcp-blocks/mcp-client-pattern/react';", 'useTool'],
    ['everything', "export * from '@mcp-blocks/mcp-client-pattern';", 'networkConnectors'],
  ])('of %s imports neither ws nor a builtin of Node', async (_what, source, name) => {
    const { code, imports } = await bundle(source);
    expect(imports.filter(foreign)).toEqual([]);
    expect(code).toContain(`as ${name}`);
    expect(code).not.toMatch(/\bBuffer\.(from|alloc)|\bprocess\.|\brequire\(/);
  });

  it('would be caught if it imported one', async () => {
    const { imports } = await bundle("export * from '../../../encrypted-websocket/src/index.js';");
    expect(imports.filter(foreign)).toEqual(expect.arrayContaining(['ws', 'node:tls']));
  });

  it(`adds at most ${BUDGET_BYTES / 1024} KiB to a page that has the SDK's client`, async () => {
    const [both, sdk] = [await bundle(`${SDK}${CLIENT}`), await bundle(SDK)];
    const added = compressedBytes(both.code) - compressedBytes(sdk.code);
    expect(added).toBeLessThanOrEqual(BUDGET_BYTES);
    // A budget with much room is none.
    expect(added).toBeGreaterThan(BUDGET_BYTES * 0.8);
  });
});

it('compiles for those who have no types of Node', () => {
  const tsc = fileURLToPath(new URL('../../../../node_modules/.bin/tsc', import.meta.url));
  const { status, stdout } = spawnSync(tsc, ['-p', fileURLToPath(new URL('tsconfig.json', import.meta.url))], { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});
