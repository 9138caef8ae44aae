import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ManualClock } from '@mcp-blocks/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { MCPClientPattern } from '../src/index.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const DISCOVERED = {
  resultType: 'complete',
  supportedVersions: ['2026-07-28'],
  capabilities: { tools: {}, resources: {} },
  ttlMs: 0,
  cacheScope: 'private',
};

type Answer = (response: ServerResponse, id: number) => void;

/** An HTTP server that agrees to everything and answers tool calls as told, the last answer for good. */
async function startHttp(...answers: Answer[]) {
  const clock = new ManualClock();
  const calls: string[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { id, method, params } = JSON.parse(body === '' ? '{}' : body);
    if (method === 'tools/call') {
      calls.push(params.name);
      return (answers.length > 1 ? answers.shift() : answers[0])?.(response, id);
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    const result =
      method === 'server/discover'
        ? DISCOVERED
        : {
            resultType: 'complete',
            ttlMs: 0,
            cacheScope: 'private',
            tools: [{ name: 'look', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } }],
          };
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new MCPClientPattern({
    serverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    enableWebSocket: false,
    reconnectOptions: { initialDelay: 10, maxDelay: 10 },
  });
  const patient = () =>
    new MCPClientPattern({ serverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, enableWebSocket: false, clock });
  cleanups.push(
    async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
    () => client.close(),
  );
  return { client, calls, clock, patient };
}

const status =
  (code: number, body = ''): Answer =>
  (response) =>
    response.writeHead(code, { 'content-type': 'application/json' }).end(body);
const result: Answer = (response, id) =>
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', content: [] } }));
const rpcError = (code: number, data: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code, message: 'said the server', data } });

describe('an HTTP status', () => {
  it.each([
    [400, '', 'upstream_error'],
    [401, '', 'unauthenticated'],
    [403, '', 'forbidden'],
    [404, '', 'upstream_error'],
    [413, '', 'payload_too_large'],
    [429, '', 'rate_limited'],
    [500, 'stack trace', 'upstream_error'],
    [400, rpcError(-32602), 'invalid_params'],
    [404, rpcError(-32601), 'method_not_found'],
    [403, rpcError(403), 'forbidden'],
    [429, rpcError(429, { retryAfterMs: 7 }), 'rate_limited'],
    [503, rpcError(503), 'unavailable'],
    [500, rpcError(-32603), 'internal_error'],
    [500, rpcError(12345), 'upstream_error'],
    [429, '{"error":{"code":"no number"}}', 'rate_limited'],
  ])('%i with body "%s" is %s', async (code, body, expected) => {
    const { client, calls } = await startHttp(status(code, body));
    const failure = await client.callTool('pay').catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'RpcError', code: expected });
    expect(String(failure)).not.toContain('stack trace');
    if (body.includes('retryAfterMs')) expect(failure).toMatchObject({ data: { retryAfterMs: 7 } });
    expect(calls).toEqual(['pay']);
  });

  it.each([502, 503, 504])('%i from a proxy is a lost connection', async (code) => {
    const { client, calls } = await startHttp(status(code, '<html>'), status(code, '<html>'), result);
    await client.listTools();
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    expect(await client.callTool('look')).toMatchObject({ content: [] });
    expect(calls).toEqual(['pay', 'look', 'look']);
  });
});

describe('Retry-After', () => {
  const headers =
    (code: number, retryAfter: string, body = ''): Answer =>
    (response) =>
      void response.writeHead(code, { 'content-type': 'application/json', 'retry-after': retryAfter }).end(body);

  it.each<[string, Answer, number]>([
    ['429 alone', headers(429, '7'), 7000],
    ['429 with a date', headers(429, new Date(1_700_000_000_000 + 9000).toUTCString()), 9000],
    ['429 with an error that says nothing of it', headers(429, '7', rpcError(429)), 7000],
    ['429 with an error that knows better', headers(429, '7', rpcError(429, { retryAfterMs: 6500 })), 6500],
    ['503 with an error', headers(503, '7', rpcError(503)), 7000],
    ['503 of a proxy', headers(503, '7', '<html>'), 7000],
  ])('of a %s is obeyed', async (_name, answer, waitMs) => {
    const { calls, clock, patient } = await startHttp(answer, result);
    await using client = patient();
    await client.listTools();
    const retried = new Promise<number>((resolve) => client.on('retry', ({ delayMs }) => resolve(delayMs)));
    const call = client.callTool('look');
    const delayMs = await retried;
    expect(delayMs).toBeGreaterThanOrEqual(waitMs);
    expect(delayMs).toBeLessThanOrEqual(waitMs + 100);
    await clock.advance(waitMs - 1);
    expect(calls).toEqual(['look']);
    await clock.advance(delayMs - waitMs + 1);
    expect(await call).toMatchObject({ content: [] });
    expect(calls).toEqual(['look', 'look']);
  });

  it('is told to the caller of what may not be repeated', async () => {
    const { client } = await startHttp(headers(429, '7'), headers(503, '7'));
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'rate_limited', data: { retryAfterMs: 7000 } });
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'ambiguous_outcome' });
  });
});

describe('a response', () => {
  it.each<[string, Answer]>([
    [
      'cut in the middle',
      (response) =>
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"json', () => response.destroy()),
    ],
    [
      'whose stream ends without an answer',
      (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': nothing\n\n'),
    ],
    ['that never starts', (response) => response.destroy()],
  ])('%s is repeated only where that is safe', async (_name, answer) => {
    const { client, calls } = await startHttp(answer, answer, result);
    await client.listTools();
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    expect(await client.callTool('look')).toMatchObject({ content: [] });
    expect(calls).toEqual(['pay', 'look', 'look']);
  });

  it.each<[string, Answer]>([
    ['of another type', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    [
      'that breaks the protocol',
      (response, id) =>
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'nonsense' } })),
    ],
  ])("%s is the server's error", async (_name, answer) => {
    const { client } = await startHttp(answer);
    await expect(client.callTool('pay')).rejects.toMatchObject({ code: 'upstream_error' });
    expect(client.getConnectionStatus().state).toBe('connected');
  });
});
