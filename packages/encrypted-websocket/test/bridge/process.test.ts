import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '@modelcontextprotocol/client';
import type { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import { deferred } from '../support.js';
import {
  bridgeArguments,
  bridgedService,
  CLIENT_KINDS,
  type ClientKind,
  connectThroughBridge,
  ENV,
  SCHEMES,
  startServer,
} from './support.js';

const VERSION: Readonly<Record<ClientKind, string>> = { v1: '2025-11-25', legacy: '2025-11-25', auto: '2026-07-28' };

/** The v1 client takes a schema between the call and its options. */
const call = (client: Client, name: string, options: object): Promise<unknown> =>
  client instanceof Client ? client.callTool({ name }, options) : (client as V1Client).callTool({ name }, undefined, options);

describe.each(SCHEMES)('a bridge to %s', (scheme) => {
  it.each(CLIENT_KINDS)('carries what the SDK client %s does', async (kind) => {
    const bridged = bridgedService();
    const { url } = await startServer(scheme, bridged.service);
    expect(new URL(url).protocol).toBe(`${scheme}:`);
    const { client, logged } = await connectThroughBridge(kind, url);

    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo', 'progress', 'hold', 'ask', 'region']);
    const echo = await client.callTool({ name: 'echo', arguments: { a: 1 } });
    expect(echo.content).toEqual([{ type: 'text', text: `alice ${VERSION[kind]} {"a":1}` }]);

    const large = 'x'.repeat(1_000_000);
    expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: { large } }))).toContain(large);
    const many = await Promise.all(Array.from({ length: 50 }, (_, n) => client.callTool({ name: 'echo', arguments: { n } })));
    expect(many.map((result) => JSON.stringify(result.content))).toEqual(many.map((_, n) => expect.stringContaining(`{\\"n\\":${n}}`)));

    const seen: number[] = [];
    const onprogress = ({ progress }: { progress: number }) => {
      seen.push(progress);
      bridged.sawProgress(progress);
    };
    await call(client, 'progress', { onprogress });
    expect(seen).toEqual([1, 2]);

    const region = await client.callTool({ name: 'region', arguments: { region: 'Zürich' } });
    expect(region.content).toEqual([{ type: 'text', text: 'Zürich' }]);

    if (kind !== 'v1') {
      expect((await client.callTool({ name: 'ask' })).content).toEqual([{ type: 'text', text: 'hello Ada' }]);
      const changed = deferred();
      client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
      const subscription = kind === 'auto' ? await client.listen({ toolsListChanged: true }) : undefined;
      bridged.events.publish({ kind: 'tools_list_changed' });
      await changed.promise;
      await subscription?.close();
    }

    const abort = new AbortController();
    const held = call(client, 'hold', { signal: abort.signal });
    await bridged.started;
    abort.abort('enough');
    await expect(held).rejects.toThrow('enough');
    await bridged.aborted;
    expect((await client.listTools()).tools).toHaveLength(5);
    expect(logged).toEqual([]);
  });
});

it.each(['ws', 'http'] as const)(
  'the Inspector CLI lists the tools through a bridge to %s',
  async (scheme) => {
    const { url } = await startServer(scheme, bridgedService().service);
    const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json');
    const { bin } = (await import(manifest, { with: { type: 'json' } })).default as { bin: Record<string, string> };
    const args = ['--cli', process.execPath, ...bridgeArguments(url), '-e', 'TEST_TOKEN=alice-token', '--method', 'tools/list'];
    const { stdout } = await promisify(execFile)(process.execPath, [join(dirname(manifest), bin['mcp-inspector'] as string), ...args], {
      env: ENV,
    });
    expect((JSON.parse(stdout) as { tools: { name: string }[] }).tools.map(({ name }) => name)).toContain('echo');
  },
  60_000,
);
