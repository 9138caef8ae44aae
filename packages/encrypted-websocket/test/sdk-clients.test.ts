import type { RpcService } from '@mcp-blocks/core';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it } from 'vitest';
import { WebSocketClientTransport } from '../src/index.js';
import { certificates, cleanup, connectV2, deferred, listening, testHost, toolService } from './support.js';

const host = (service: RpcService) => testHost({ service });

describe.each(['auto', 'legacy'] as const)('an SDK v2 client in mode %s', (mode) => {
  const version = mode === 'auto' ? '2026-07-28' : '2025-11-25';

  it('lists and calls tools as the principal of the handshake', async () => {
    const { url } = await listening();
    const { client } = await connectV2(url, mode);
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo']);
    const result = await client.callTool({ name: 'echo', arguments: { a: 1 } });
    expect(result.content).toEqual([{ type: 'text', text: `alice websocket ${version} {"a":1}` }]);
  });

  it('gets the error of a refused call and goes on', async () => {
    const { url } = await listening();
    const { client } = await connectV2(url, mode);
    await expect(client.callTool({ name: 'denied' })).rejects.toMatchObject({ code: 403 });
    expect((await client.callTool({ name: 'echo' })).isError).toBeFalsy();
  });

  it('sees progress before the result', async () => {
    const { url } = await listening();
    const { client } = await connectV2(url, mode);
    const seen: number[] = [];
    await client.callTool({ name: 'progress' }, { onprogress: ({ progress }) => seen.push(progress) });
    expect(seen).toEqual([1, 2]);
  });

  it('cancels a call, and the handler hears of it', async () => {
    const tools = toolService();
    const { url } = await listening(host(tools.service));
    const { client } = await connectV2(url, mode);
    const abort = new AbortController();
    const call = client.callTool({ name: 'hold' }, { signal: abort.signal });
    await tools.started;
    abort.abort('enough');
    await expect(call).rejects.toThrow('enough');
    await tools.aborted;
  });

  it('has many calls answered concurrently, each with its own result', async () => {
    const { url } = await listening();
    const { client } = await connectV2(url, mode);
    const results = await Promise.all(Array.from({ length: 100 }, (_, n) => client.callTool({ name: 'echo', arguments: { n } })));
    expect(results.map(({ content }) => content)).toEqual(
      results.map((_, n) => [{ type: 'text', text: `alice websocket ${version} {"n":${n}}` }]),
    );
  });

  it('aborts its calls on the server when it goes away', async () => {
    const tools = toolService();
    const { url } = await listening(host(tools.service));
    const { client } = await connectV2(url, mode);
    const call = client.callTool({ name: 'hold' }).catch(() => {});
    await tools.started;
    await client.close();
    await tools.aborted;
    await call;
  });
});

it('tells a legacy client of a changed tool list, unasked', async () => {
  const tools = toolService();
  const { url } = await listening(host(tools.service));
  const { client } = await connectV2(url, 'legacy');
  const changed = deferred();
  client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
  await client.listTools();
  tools.events.publish({ kind: 'tools_list_changed' });
  await changed.promise;
});

it('tells a modern client of a changed tool list once it listens', async () => {
  const tools = toolService();
  const { url } = await listening(host(tools.service));
  const { client } = await connectV2(url, 'auto');
  const changed = deferred();
  client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
  const subscription = await client.listen({ toolsListChanged: true });
  tools.events.publish({ kind: 'tools_list_changed' });
  await changed.promise;
  await subscription.close();
});

it('serves an SDK v1 client', async () => {
  const tools = toolService();
  const { url } = await listening(host(tools.service));
  const client = new V1Client({ name: 'test', version: '1' });
  cleanup(() => client.close());
  await client.connect(new WebSocketClientTransport(url, { token: 'bob-token' }) as never);
  expect((await client.listTools()).tools).toHaveLength(1);
  const result = await client.callTool({ name: 'echo', arguments: {} });
  expect(result.content).toEqual([{ type: 'text', text: 'bob websocket 2025-11-25 {}' }]);
  const changed = deferred();
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => changed.resolve());
  tools.events.publish({ kind: 'tools_list_changed' });
  await changed.promise;
});

it('serves wss to a client that trusts the certificate, and to no other', async () => {
  const { url } = await listening(testHost(), { tls: certificates.server });
  expect(url).toMatch(/^wss:/);
  const { client, transport } = await connectV2(url, 'auto', { tls: { ca: certificates.ca } });
  expect((await client.listTools()).tools).toHaveLength(1);
  expect(transport.getSessionInfo()).toEqual({ sessionId: expect.any(String), secure: true, protocol: 'mcp' });
  await expect(new WebSocketClientTransport(url, { token: 'alice-token' }).start()).rejects.toMatchObject({ code: 'unavailable' });
});
