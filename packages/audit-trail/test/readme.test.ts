import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compose } from '@mcp-blocks/core';
import { hostSdkServer, toSdkFactory } from '@mcp-blocks/core/sdk';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { expect, it } from 'vitest';
import { auditTrail, FileAuditSink, verifyAuditTrail } from '../src/index.js';
import { eventsOf, temporaryFolder } from './trails.js';

/** The code between two marks of this file, as it stands in the README but for the trail's path and `export`. */
const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim().replaceAll('export ', '').replaceAll("path: 'audit.jsonl'", 'path').replaceAll("'audit.jsonl'", 'path'))
    .filter((line) => line !== '' && !line.startsWith('import '));

it('the example of the README is the one run here', () => {
  const own = readFileSync(new URL(import.meta.url), 'utf8')
    .split('// start\n')[1]!
    .split('// end')[0]!;
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  expect(lines(/```ts\n([\s\S]*?)```/.exec(readme)![1]!)).toEqual(lines(own));
});

it('a team adds just this package to an SDK server, and every call of an SDK client is in the trail', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl');
  const console = { log: (result: unknown) => expect(result).toMatchObject({ ok: true, records: expect.any(Number), unanchored: 0 }) };
  // start
  // A server you did not write and cannot change.
  const factory = () => {
    const server = new McpServer({ name: 'clock', version: '1.0.0' });
    server.registerTool('now', {}, async () => ({ content: [{ type: 'text', text: new Date().toISOString() }] }));
    return server;
  };

  const audit = new FileAuditSink({ path });
  const service = await hostSdkServer(factory);
  const audited = { ...service, handler: compose(service.handler, [auditTrail({ sink: audit })]) };
  const { fetch } = createMcpHandler(toSdkFactory(audited)); // the web-standard handler you had before

  async function stop() {
    await audit.close();
    console.log(await verifyAuditTrail(path)); // { ok: true, records: 1, head: { seq: 1, hash: '…' }, unanchored: 0 }
  }
  // end
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: (url, init) => fetch(new Request(url, init)) }),
  );
  await client.callTool({ name: 'now', arguments: {} });
  await client.callTool({ name: 'later', arguments: {} }).catch(() => {});
  await client.close();
  await stop();
  expect((await eventsOf(path)).filter(({ type }) => type === 'tool.call')).toMatchObject([
    { target: 'now', outcome: 'succeeded' },
    { target: 'later', outcome: 'failed' },
  ]);
});
