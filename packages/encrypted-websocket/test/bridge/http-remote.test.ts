import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type JsonObject, type JsonRpcMessage, META, RpcError, systemClock } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { HttpChannel } from '../../src/bridge/http-channel.js';
import { HttpRemote } from '../../src/bridge/http-remote.js';
import type { Loss, MessageId, Outcome } from '../../src/bridge/remote.js';
import { cleanup, deferred, until } from '../support.js';
import { INITIALIZE, INITIALIZED } from './support.js';

interface Seen {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly message: { id?: MessageId; method?: string; params?: JsonObject };
}

/** A server that does what the test says, and a remote to it. */
async function remoteTo(answer: (seen: Seen, response: ServerResponse) => void, limits = { maxMessageBytes: 10_000 }) {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const one = { method: request.method ?? '', headers: request.headers, message: body === '' ? {} : JSON.parse(body) };
    seen.push(one);
    answer(one, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup(async () => void server.close().closeAllConnections());
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const credentials = async () => ({ authorization: 'Bearer secret' });
  const channel = new HttpChannel({ url, tls: {}, credentials, connectTimeoutMs: 5_000, clock: systemClock });
  const told = {
    messages: [] as JsonRpcMessage[],
    failed: [] as { id: MessageId; outcome: Outcome; code: string }[],
    lost: [] as Loss[],
    warned: [] as string[],
  };
  const remote = new HttpRemote(
    channel,
    { maxJsonDepth: 16, clock: systemClock, ...limits },
    {
      message: (message) => {
        told.messages.push(message);
        return undefined;
      },
      failed: (id, outcome, error) => told.failed.push({ id, outcome, code: error.code }),
      lost: (loss) => told.lost.push(loss),
      debug: () => {},
      warn: (text) => told.warned.push(text),
    },
  );
  cleanup(() => remote.close());
  const post = async (message: object) => await remote.send(message as JsonRpcMessage);
  return { remote, told, seen, post, server };
}

const modern = (id: MessageId, method: string, params: JsonObject = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params: { ...params, _meta: { [META.protocolVersion]: '2026-07-28' } },
});
const json = (response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
const result = (id: MessageId | undefined, value: JsonObject = {}) => ({ jsonrpc: '2.0', id, result: value });
const stream = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/event-stream' });
const event = (message: object, id?: string) => `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(message)}\n\n`;

const TOOLS = [
  {
    name: 'where',
    inputSchema: {
      type: 'object',
      properties: {
        region: { type: 'string', 'x-mcp-header': 'Region' },
        at: {
          type: 'object',
          properties: { zone: { type: 'integer', 'x-mcp-header': 'Zone' }, dry: { type: 'boolean', 'x-mcp-header': 'Dry' } },
        },
      },
    },
  },
];

describe('in the modern era', () => {
  it('sends the headers each request asks for, encoded where they must be', async () => {
    const { told, seen, post } = await remoteTo(({ message }, response) =>
      json(response, 200, result(message.id, message.method === 'tools/list' ? { tools: TOOLS } : {})),
    );
    await post(modern(1, 'tools/list'));
    await until(() => told.messages.length === 1);
    await post(modern(2, 'tools/call', { name: 'where', arguments: { region: ' Zürich', at: { zone: 7, dry: false } } }));
    await post(modern(3, 'tools/call', { name: 'where', arguments: { region: null, at: 5 } }));
    await post(modern(4, 'resources/read', { uri: 'test://a' }));
    await post(modern(5, 'prompts/get', { name: '=?base64?x?=' }));
    await until(() => seen.length === 5);
    const of = (id: number) => seen.find(({ message }) => message.id === id)?.headers ?? {};
    for (const id of [1, 2, 3, 4, 5]) {
      expect(of(id)).toMatchObject({
        authorization: 'Bearer secret',
        'mcp-protocol-version': '2026-07-28',
        accept: 'application/json, text/event-stream',
      });
      expect(of(id)['mcp-session-id']).toBeUndefined();
    }
    expect(of(1)['mcp-name']).toBeUndefined();
    expect(of(2)).toMatchObject({
      'mcp-method': 'tools/call',
      'mcp-name': 'where',
      'mcp-param-region': `=?base64?${Buffer.from(' Zürich').toString('base64')}?=`,
      'mcp-param-zone': '7',
      'mcp-param-dry': 'false',
    });
    expect(Object.keys(of(3)).filter((name) => name.startsWith('mcp-param'))).toEqual([]);
    expect(of(4)['mcp-name']).toBe('test://a');
    expect(of(5)['mcp-name']).toBe(`=?base64?${Buffer.from('=?base64?x?=').toString('base64')}?=`);
  });

  it('looks up the headers of a tool the host has not listed, and calls again once', async () => {
    const { told, seen, post } = await remoteTo(({ message, headers }, response) => {
      if (message.method === 'tools/list') json(response, 200, result(message.id, { tools: TOOLS }));
      else if (headers['mcp-param-region'] === 'eu') json(response, 200, result(message.id, { content: [] }));
      else json(response, 400, { jsonrpc: '2.0', id: message.id, error: { code: -32020, message: 'Header mismatch' } });
    });
    await post(modern(1, 'tools/call', { name: 'where', arguments: { region: 'eu' } }));
    await until(() => told.messages.length === 1);
    expect(told.messages).toEqual([result(1, { content: [] })]);
    expect(seen.map(({ message }) => message.method)).toEqual(['tools/call', 'tools/list', 'tools/call']);
    await post(modern(2, 'tools/call', { name: 'where', arguments: {} }));
    await until(() => told.messages.length === 2);
    expect(told.messages[1]).toMatchObject({ id: 2, error: { code: -32020 } });
    expect(seen).toHaveLength(6);
  });

  it.each<[name: string, schema: JsonObject]>([
    ['no token', { properties: { a: { type: 'string', 'x-mcp-header': 'a b' } } }],
    ['a number', { properties: { a: { type: 'number', 'x-mcp-header': 'A' } } }],
    ['twice', { properties: { a: { type: 'string', 'x-mcp-header': 'A' }, b: { type: 'string', 'x-mcp-header': 'a' } } }],
    ['under items', { properties: { a: { type: 'array', items: { type: 'string', 'x-mcp-header': 'A' } } } }],
    ['under anyOf', { anyOf: [{ properties: { a: { type: 'string', 'x-mcp-header': 'A' } } }] }],
    ['on the whole', { type: 'string', 'x-mcp-header': 'A' }],
  ])('leaves out a tool whose annotation is not valid: %s', async (_name, schema) => {
    const good = { name: 'good', inputSchema: { properties: { default: { default: { 'x-mcp-header': 1 } } } } };
    const { told, post } = await remoteTo(({ message }, response) =>
      json(response, 200, result(message.id, { tools: [{ name: 'bad', inputSchema: schema }, good] })),
    );
    await post(modern(1, 'tools/list'));
    await until(() => told.messages.length === 1);
    expect(told.messages).toEqual([result(1, { tools: [good] })]);
    expect(told.warned).toEqual([expect.stringContaining('"bad"')]);
  });

  it('cancels by closing the stream', async () => {
    const closed = deferred();
    const { told, seen, post } = await remoteTo(({ message }, response) => {
      response.on('close', closed.resolve);
      stream(response).write(
        event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: message.id ?? 0, progress: 1 } }),
      );
    });
    await post(modern(1, 'tools/call', { name: 'a' }));
    await until(() => told.messages.length === 1);
    await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    await closed.promise;
    expect(seen).toHaveLength(1);
    expect(told.failed).toEqual([]);
    expect(told.lost).toEqual([]);
  });
});

describe('in the legacy era', () => {
  const session = (more: (seen: Seen, response: ServerResponse) => void) =>
    remoteTo((seen, response) => {
      const { message, method } = seen;
      if (message.method === 'initialize') {
        json(response, 200, result(message.id, { protocolVersion: '2025-11-25' }), { 'mcp-session-id': 's1' });
      } else if (message.method === 'notifications/initialized') response.writeHead(202).end();
      else if (method === 'DELETE') response.writeHead(200).end();
      else more(seen, response);
    });
  const handshake = async ({ post, told }: Awaited<ReturnType<typeof remoteTo>>) => {
    await post(INITIALIZE);
    await until(() => told.messages.length === 1);
    await post(INITIALIZED);
    told.messages.length = 0;
  };

  it('keeps session and revision in headers, opens the GET stream and ends the session', async () => {
    const made = await session(({ method }, response) => {
      if (method === 'GET') stream(response).write(event({ jsonrpc: '2.0', id: 1, method: 'roots/list' }));
      else response.writeHead(202).end();
    });
    await handshake(made);
    await until(() => made.told.messages.length === 1);
    expect(made.told.messages).toEqual([{ jsonrpc: '2.0', id: 1, method: 'roots/list' }]);
    await made.post(result(1, { roots: [] }));
    await made.remote.close();
    const { seen } = made;
    expect(seen.map(({ method }) => method)).toEqual(['POST', 'POST', 'GET', 'POST', 'DELETE']);
    for (const { headers } of seen.slice(1))
      expect(headers).toMatchObject({ 'mcp-session-id': 's1', 'mcp-protocol-version': '2025-11-25' });
    expect(seen[2]?.headers.accept).toBe('text/event-stream');
    expect(seen.every(({ headers }) => headers['mcp-method'] === undefined)).toBe(true);
  });

  it('goes on with a stream that broke, after the last event', async () => {
    const made = await session(({ method, message, headers }, response) => {
      if (method === 'POST')
        stream(response).end(`retry: 1\n${event({ jsonrpc: '2.0', method: 'notifications/message', params: {} }, 'e1')}`);
      else if (headers['last-event-id'] === 'e1') stream(response).end(event(result('long', { id: message.id ?? 'none' }), 'e2'));
      else response.writeHead(405).end();
    });
    await handshake(made);
    await made.post({ jsonrpc: '2.0', id: 'long', method: 'tools/call', params: {} });
    await until(() => made.told.messages.length === 2);
    expect(made.told.messages).toMatchObject([{ method: 'notifications/message' }, { id: 'long' }]);
    expect(made.told.failed).toEqual([]);
  });

  it.each([
    ['not ASCII', 'é→', Buffer.from('é→').toString('latin1')],
    ['of control characters', 'a\u0001', undefined],
  ])('opens a stream again after an event whose id is %s', async (_name, id, header) => {
    const asked = deferred();
    const made = await session(({ headers, method }, response) => {
      if (method !== 'GET') response.writeHead(202).end();
      else if (made.seen.filter((one) => one.method === 'GET').length === 1) stream(response).end(`retry: 1\nid: ${id}\ndata\n\n`);
      else {
        expect(headers['last-event-id']).toBe(header);
        stream(response).flushHeaders();
        asked.resolve();
      }
    });
    await handshake(made);
    await asked.promise;
    expect(made.told.lost).toEqual([]);
  });

  it('does not ask at once, however often a server says so', async () => {
    const made = await session(({ method }, response) => {
      if (method === 'GET') stream(response).end('retry: 0\n\n');
      else response.writeHead(202).end();
    });
    await handshake(made);
    const before = performance.now();
    const gets = () => made.seen.filter((one) => one.method === 'GET').length;
    await until(() => gets() >= 4);
    // Never too few of them, however slow the machine is.
    expect(performance.now() - before).toBeGreaterThan(100);
  });

  it('sends back no revision that a header cannot carry', async () => {
    const { told, seen, post } = await remoteTo(({ message }, response) => {
      json(response, 200, result(message.id, message.method === 'initialize' ? { protocolVersion: '2025-11-25\r\nx: y' } : {}));
    });
    await post(INITIALIZE);
    await until(() => told.messages.length === 1);
    await post({ jsonrpc: '2.0', id: 2, method: 'tools/list' });
    await until(() => told.messages.length === 2);
    expect(seen[1]?.headers['mcp-protocol-version']).toBeUndefined();
  });

  it('tells of a lost session once, and that none of its requests was begun', async () => {
    const { told, post } = await (async () => {
      const made = await session(({ method }, response) => response.writeHead(method === 'GET' ? 405 : 404).end());
      await handshake(made);
      return made;
    })();
    for (const id of [1, 2]) await post({ jsonrpc: '2.0', id, method: 'tools/call', params: {} });
    await until(() => told.failed.length === 2);
    expect(told.failed.map(({ outcome }) => outcome)).toEqual(['not-started', 'not-started']);
    expect(told.lost).toMatchObject([{ inFlight: 'separate', session: true }]);
  });

  it('cancels by the notification', async () => {
    const made = await session(({ message, method }, response) => {
      if (method === 'GET') response.writeHead(405).end();
      else if (message.id === undefined) response.writeHead(202).end();
    });
    await handshake(made);
    await made.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: {} });
    await until(() => made.seen.length === 4);
    await made.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    expect(made.seen.at(-1)?.message).toMatchObject({ method: 'notifications/cancelled' });
    expect(made.told.failed).toEqual([]);
  });
});

describe('what goes wrong', () => {
  it.each<[status: number, outcome: Outcome, code: string, lost: boolean]>([
    [400, 'refused', 'invalid_request', false],
    [401, 'refused', 'unauthenticated', false],
    [403, 'refused', 'forbidden', false],
    [404, 'refused', 'upstream_error', false],
    [413, 'refused', 'payload_too_large', false],
    [429, 'refused', 'rate_limited', false],
    [500, 'refused', 'upstream_error', false],
    [302, 'refused', 'upstream_error', false],
    [502, 'unknown', 'upstream_error', true],
    [503, 'not-started', 'unavailable', true],
    [504, 'unknown', 'upstream_error', true],
  ])('HTTP %d: %s, %s', async (status, outcome, code, lost) => {
    const { told, post } = await remoteTo((_seen, response) =>
      response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end('secret'),
    );
    await post(modern(1, 'tools/call'));
    await until(() => told.failed.length === 1);
    expect(told.failed).toEqual([{ id: 1, outcome, code }]);
    expect(told.lost).toHaveLength(lost ? 1 : 0);
  });

  it.each<[what: string, outcome: Outcome, code: string, answer: (response: ServerResponse) => void]>([
    ['a body over the limit', 'refused', 'payload_too_large', (response) => json(response, 200, result(1, { a: 'x'.repeat(20_000) }))],
    ['an event over the limit', 'refused', 'payload_too_large', (response) => stream(response).write(event({ a: 'x'.repeat(20_000) }))],
    [
      'an event line that does not end',
      'refused',
      'payload_too_large',
      (response) => stream(response).write(`data: ${'x'.repeat(20_000)}`),
    ],
    ['bytes that are no UTF-8', 'refused', 'upstream_error', (response) => stream(response).write(Buffer.from([0x64, 0xff, 0x0a]))],
    ["somebody else's answer", 'refused', 'upstream_error', (response) => json(response, 200, result(2))],
    ['a page', 'refused', 'upstream_error', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>')],
    ['a stream without an answer', 'unknown', 'unavailable', (response) => stream(response).end(': nothing\n\n')],
    ['a connection that breaks', 'unknown', 'unavailable', (response) => response.destroy()],
    [
      'a body that breaks off',
      'unknown',
      'unavailable',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"jsonrpc"');
        setImmediate(() => response.destroy());
      },
    ],
  ])('%s: %s, %s', async (_what, outcome, code, answer) => {
    const { told, post } = await remoteTo((_seen, response) => answer(response));
    await post(modern(1, 'tools/call'));
    await until(() => told.failed.length === 1);
    expect(told.failed).toEqual([{ id: 1, outcome, code }]);
    expect(told.messages).toEqual([]);
  });

  it('an error that is an answer is one, whatever its status', async () => {
    const error = { code: -32601, message: 'Method not found' };
    const { told, post } = await remoteTo(({ message }, response) => json(response, 404, { jsonrpc: '2.0', id: message.id, error }));
    await post(modern(1, 'what/ever'));
    await until(() => told.messages.length === 1);
    expect(told.messages).toEqual([{ jsonrpc: '2.0', id: 1, error }]);
  });

  it('a server that is not there: not started, and opening says so', async () => {
    const { remote, told, post, server } = await remoteTo(() => {});
    await new Promise((resolve) => server.close(resolve));
    await post(modern(1, 'tools/call'));
    await until(() => told.lost.length === 1);
    expect(told.failed).toEqual([{ id: 1, outcome: 'not-started', code: 'unavailable' }]);
    await expect(remote.open()).rejects.toMatchObject({ code: 'unavailable' });
    expect(told.lost[0]?.error).toBeInstanceOf(RpcError);
  });
});
