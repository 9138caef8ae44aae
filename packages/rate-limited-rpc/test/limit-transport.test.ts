import { testPrincipal } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { McpServer as V1McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Transport as V1Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { InMemoryTransport, type JSONRPCMessage, McpServer } from '@modelcontextprotocol/server';
import { expect, it, onTestFinished } from 'vitest';
import { RateLimitedRPC, type RateLimitedRpcOptions } from '../src/index.js';
import { limitTransport } from '../src/sdk.js';

const principal = testPrincipal({ id: 'alice' });
const hour = 3_600_000;

function limiting(limits: RateLimitedRpcOptions['limits']) {
  const limiter = new RateLimitedRPC({ limits });
  onTestFinished(() => limiter.close());
  const [far, near] = InMemoryTransport.createLinkedPair();
  return { limiter, far, near: limitTransport(near, limiter, { principal, transport: 'memory' }) };
}

const used = async (limiter: RateLimitedRPC) => (await limiter.getRateLimitStatus({ principal }))[0]?.used;

it('limits a bare SDK server; refused calls are answered and the connection stays open', async () => {
  const { far, near } = limiting([{ by: 'principal+tool', requests: 2, windowMs: hour }]);
  const server = new McpServer({ name: 'clock', version: '1' });
  server.registerTool('now', {}, async () => ({ content: [{ type: 'text', text: 'now' }] }));
  const client = new Client({ name: 'test', version: '1' });
  await Promise.all([server.connect(near), client.connect(far)]);
  for (let i = 0; i < 2; i += 1) await client.callTool({ name: 'now' });
  await expect(client.callTool({ name: 'now' })).rejects.toMatchObject({ code: 429, data: { limit: 2, remaining: 0 } });
  expect((await client.listTools()).tools).toHaveLength(1);
  await client.close();
});

it('limits a server written for SDK v1 just so, and ends with its connection', async () => {
  const { far, near, limiter } = limiting([
    { by: 'principal+tool', requests: 2, windowMs: hour },
    { by: 'principal', concurrent: 5, name: 'running' },
  ]);
  const server = new V1McpServer({ name: 'clock', version: '1' });
  const gate = Promise.withResolvers<void>();
  server.registerTool('now', {}, async () => ({ content: [{ type: 'text', text: 'now' }] }));
  server.registerTool('wait', {}, async () => {
    await gate.promise;
    return { content: [] };
  });
  const client = new V1Client({ name: 'test', version: '1' });
  await Promise.all([server.connect(near as V1Transport), client.connect(far as V1Transport)]);
  for (let i = 0; i < 2; i += 1) expect(await client.callTool({ name: 'now' })).toMatchObject({ content: [{ text: 'now' }] });
  await expect(client.callTool({ name: 'now' })).rejects.toMatchObject({ code: 429, data: { limit: 2, remaining: 0 } });
  expect((await client.listTools()).tools).toHaveLength(2);
  const waiting = client.callTool({ name: 'wait' });
  const running = async () => (await limiter.getRateLimitStatus({ principal, limit: 'running' }))[0]?.used;
  await expect.poll(running).toBe(1);
  gate.resolve();
  expect(await waiting).toMatchObject({ content: [] });
  await expect.poll(running).toBe(0);
  await client.close();
  expect(server.isConnected()).toBe(false);
});

it('counts a call in progress until it is answered, cancelled or the connection is closed', async () => {
  const { far, near, limiter } = limiting([{ by: 'principal', concurrent: 3 }]);
  const received: JSONRPCMessage[] = [];
  const answers: JSONRPCMessage[] = [];
  far.onmessage = (message) => void answers.push(message);
  near.onmessage = (message) => void received.push(message);
  await Promise.all([far.start(), near.start()]);
  for (const id of [1, 2, 3, 4]) await far.send({ jsonrpc: '2.0', id, method: 'tools/list' });
  await expect.poll(() => answers).toMatchObject([{ id: 4, error: { code: 429 } }]);
  expect(received).toHaveLength(3);
  await near.send({ jsonrpc: '2.0', id: 1, result: {} });
  await expect.poll(() => used(limiter)).toBe(2);
  await far.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2 } });
  await expect.poll(() => used(limiter)).toBe(1);
  expect(received).toHaveLength(4);
  await far.close();
  await expect.poll(() => used(limiter)).toBe(0);
});

it('gives failed calls back', async () => {
  const { far, near, limiter } = limiting([{ by: 'principal', requests: 5, windowMs: hour, skipFailed: true }]);
  near.onmessage = (message) => {
    const { id } = message as { id: number };
    const answer = [{ error: { code: -32602, message: 'no' } }, { result: { isError: true } }, { result: {} }][id] as {
      result: Record<string, unknown>;
    };
    void near.send({ jsonrpc: '2.0', id, ...answer });
  };
  await Promise.all([far.start(), near.start()]);
  for (const id of [0, 1, 2]) await far.send({ jsonrpc: '2.0', id, method: 'tools/list' });
  await expect.poll(() => used(limiter)).toBe(1);
});

it('does not hand on a request that was cancelled while its limits were looked at', async () => {
  const { far, near } = limiting([{ by: 'principal', concurrent: 5 }]);
  const received: JSONRPCMessage[] = [];
  near.onmessage = (message) => void received.push(message);
  await Promise.all([far.start(), near.start()]);
  void far.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  void far.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  void far.send({ jsonrpc: '2.0', id: 2, method: 'tools/list' });
  await expect.poll(() => received).toMatchObject([{ id: 2 }]);
});

it('refuses a second request with an id in progress, which would leave the first one counted for ever', async () => {
  const { far, near, limiter } = limiting([{ by: 'principal', concurrent: 3 }]);
  const received: JSONRPCMessage[] = [];
  const answers: JSONRPCMessage[] = [];
  far.onmessage = (message) => void answers.push(message);
  near.onmessage = (message) => void received.push(message);
  await Promise.all([far.start(), near.start()]);
  for (let time = 0; time < 2; time += 1) await far.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  await expect.poll(() => answers).toMatchObject([{ id: 1, error: { code: -32600 } }]);
  expect(received).toHaveLength(1);
  expect(await used(limiter)).toBe(1);
  await near.send({ jsonrpc: '2.0', id: 1, result: {} });
  await expect.poll(() => used(limiter)).toBe(0);
  await far.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  await expect.poll(() => received).toHaveLength(2);
  await far.close();
  await expect.poll(() => used(limiter)).toBe(0);
});
