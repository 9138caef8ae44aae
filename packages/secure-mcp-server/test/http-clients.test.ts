import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as V1Transport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startHttp, testService, token } from './support/server.js';

const requestInit = () => ({ headers: { authorization: `Bearer ${token()}` } });

async function connect(kind: 'v1' | 'auto' | 'legacy', url: URL): Promise<Client> {
  const client =
    kind === 'v1'
      ? (new V1Client({ name: 'v1', version: '1' }, { capabilities: { elicitation: {} } }) as unknown as Client)
      : new Client({ name: 'v2', version: '1' }, { versionNegotiation: { mode: kind }, capabilities: { elicitation: { form: {} } } });
  await client.connect(
    (kind === 'v1'
      ? new V1Transport(url, { requestInit: requestInit() })
      : new StreamableHTTPClientTransport(url, { requestInit: requestInit() })) as never,
  );
  onTestFinished(() => client.close());
  return client;
}

describe.each(['v1', 'legacy', 'auto'] as const)('an SDK client over HTTP (%s)', (kind) => {
  it('lists and calls tools as the principal of its token', async () => {
    const { url } = await startHttp({ service: testService().service });
    const client = await connect(kind, url);
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain('echo');
    const result = await client.callTool({ name: 'whoami', arguments: {} });
    expect(JSON.parse((result.content as { text: string }[])[0]!.text)).toEqual({
      id: 'alice',
      roles: ['agent'],
      transport: 'http',
      protocolVersion: kind === 'auto' ? '2026-07-28' : '2025-11-25',
      hasSession: kind !== 'auto',
    });
  });
});
