import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import type { JsonObject } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { describe, expect, it } from 'vitest';
import { callTool, modernRequest, startHttp, testService, token } from './support/server.js';

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** `fetch` does not let a caller choose `Host`; this does. */
function send(
  url: URL,
  init: { method?: string; headers?: Record<string, string>; body?: string | Buffer },
  path = url.pathname,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: url.hostname, port: url.port, path, method: init.method ?? 'POST', headers: init.headers ?? {} },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
        );
      },
    );
    request.on('error', reject);
    request.end(init.body);
  });
}

const good = callTool('echo', { a: 1 });
const withBody = (body: string | Buffer) => ({ ...good, body });
const withHeaders = (headers: Record<string, string>) => ({ ...good, headers: { ...good.headers, ...headers } });
const without = (name: string) => ({ ...good, headers: Object.fromEntries(Object.entries(good.headers).filter(([key]) => key !== name)) });
const envelope = (change: JsonObject) => {
  const message = JSON.parse(good.body) as { params: { _meta: JsonObject } };
  Object.assign(message.params._meta, change);
  return withBody(JSON.stringify(message));
};
const PROTOCOL_VERSION = 'io.modelcontextprotocol/protocolVersion';
const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

interface Row {
  readonly name: string;
  readonly send: { method?: string; headers?: Record<string, string>; body?: string | Buffer };
  readonly path?: string;
  readonly status: number;
  readonly code: number;
  readonly says?: string | RegExp;
  readonly headers?: Record<string, string | RegExp>;
  /** The reason in the audit trail, where the refusal is a security event. */
  readonly audited?: { readonly type: string; readonly reason: string };
  readonly id?: number;
}

const bearer = (value: string) => withHeaders({ authorization: `Bearer ${value}` });
const failedAuth = (reason: string) => ({ type: 'auth.failed', reason });

const rows: Row[] = [
  { name: 'malformed JSON', send: withBody('{"jsonrpc":'), status: 400, code: -32700, says: 'not valid JSON' },
  { name: 'an empty body', send: withBody(''), status: 400, code: -32700 },
  { name: 'bytes that are not UTF-8', send: withBody(Buffer.from([0x7b, 0xff, 0x7d])), status: 400, code: -32700, says: 'UTF-8' },
  {
    name: 'an envelope without jsonrpc',
    send: withBody('{"id":3,"method":"tools/list"}'),
    status: 400,
    code: -32600,
    says: 'jsonrpc',
    id: 3,
  },
  {
    name: 'params that are no object',
    send: withBody('{"jsonrpc":"2.0","id":4,"method":"tools/list","params":[1]}'),
    status: 400,
    code: -32600,
    says: 'params',
    id: 4,
  },
  { name: 'an id of null', send: withBody('{"jsonrpc":"2.0","id":null,"method":"tools/list"}'), status: 400, code: -32600, says: 'id' },
  { name: 'a batch array', send: withBody(`[${good.body}]`), status: 400, code: -32600, says: 'Batch' },
  { name: 'a wrong content type', send: withHeaders({ 'content-type': 'text/plain' }), status: 415, code: -32600, says: 'Content-Type' },
  { name: 'no content type', send: without('content-type'), status: 415, code: -32600, says: 'Content-Type' },
  { name: 'a compressed body', send: withHeaders({ 'content-encoding': 'gzip' }), status: 415, code: -32600, says: 'Content-Encoding' },
  {
    name: 'an oversized body',
    send: withBody(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { pad: 'x'.repeat(70_000) } })),
    status: 413,
    code: 413,
    says: '65536',
    audited: { type: 'request.refused', reason: 'The message is larger than 65536 bytes' },
  },
  {
    name: 'an oversized chunked body',
    send: { ...withHeaders({ 'transfer-encoding': 'chunked' }), body: 'x'.repeat(70_000) },
    status: 413,
    code: 413,
    says: '65536',
    audited: { type: 'request.refused', reason: 'The message is larger than 65536 bytes' },
  },
  {
    name: 'deep JSON',
    send: withBody(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":${deep(100)}}}`),
    status: 400,
    code: -32700,
    says: 'deeper than 64',
  },
  { name: 'an unknown method', send: modernRequest('tools/destroy'), status: 404, code: -32601, id: 7 },
  { name: 'a missing Mcp-Method', send: without('mcp-method'), status: 400, code: -32020, says: /Mcp-Method/i, id: 7 },
  { name: 'a missing Mcp-Name', send: without('mcp-name'), status: 400, code: -32020, says: /Mcp-Name/i, id: 7 },
  {
    name: 'a missing MCP-Protocol-Version',
    send: without('mcp-protocol-version'),
    status: 400,
    code: -32020,
    says: /MCP-Protocol-Version/i,
    id: 7,
  },
  {
    name: 'a mismatched Mcp-Method',
    send: withHeaders({ 'mcp-method': 'tools/list' }),
    status: 400,
    code: -32020,
    says: /Mcp-Method/i,
    id: 7,
  },
  { name: 'a mismatched Mcp-Name', send: withHeaders({ 'mcp-name': 'whoami' }), status: 400, code: -32020, says: /Mcp-Name/i, id: 7 },
  {
    name: 'a mismatched Mcp-Param header',
    send: callTool('echo', { region: 'eu' }, { 'mcp-param-region': 'us' }),
    status: 400,
    code: -32020,
    says: /region/i,
    id: 7,
  },
  {
    name: 'a mismatched MCP-Protocol-Version',
    send: withHeaders({ 'mcp-protocol-version': '2099-01-01' }),
    status: 400,
    code: -32020,
    id: 7,
  },
  {
    name: 'an unknown version',
    send: { ...envelope({ [PROTOCOL_VERSION]: '2099-01-01' }), headers: { ...good.headers, 'mcp-protocol-version': '2099-01-01' } },
    status: 400,
    code: -32022,
    says: /2099-01-01|nsupported/,
    id: 7,
  },
  {
    name: 'an unknown version from before the envelope',
    send: {
      ...withHeaders({ 'mcp-protocol-version': '1999-01-01' }),
      body: '{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
    },
    status: 400,
    code: -32022,
    says: '1999-01-01',
    id: 7,
  },
  {
    name: 'a modern header without the envelope',
    send: withBody('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}'),
    status: 400,
    code: -32602,
    id: 7,
  },
  {
    name: 'an envelope without capabilities',
    send: envelope({ 'io.modelcontextprotocol/clientCapabilities': 5 }),
    status: 400,
    code: -32602,
    id: 7,
  },
  {
    name: 'no credentials',
    send: without('authorization'),
    status: 401,
    code: 401,
    headers: { 'www-authenticate': 'Bearer realm="mcp"' },
    audited: failedAuth('no credentials'),
  },
  {
    name: 'a token in the query string',
    send: without('authorization'),
    path: `/mcp?access_token=${token()}`,
    status: 401,
    code: 401,
    audited: failedAuth('no credentials'),
  },
  {
    name: 'a bad token',
    send: bearer('garbage'),
    status: 401,
    code: 401,
    headers: { 'www-authenticate': /^Bearer realm="mcp", error="invalid_token"/ },
    audited: failedAuth('unrecognised credentials'),
  },
  {
    name: 'another scheme',
    send: withHeaders({ authorization: 'Basic YTpi' }),
    status: 401,
    code: 401,
    audited: failedAuth('unrecognised credentials'),
  },
  {
    name: 'an unknown API key',
    send: { ...without('authorization'), headers: { ...without('authorization').headers, 'x-api-key': 'nope' } },
    status: 401,
    code: 401,
    audited: failedAuth('unrecognised credentials'),
  },
  {
    name: 'an expired token',
    send: bearer(token({ exp: 1_000_000_000 })),
    status: 401,
    code: 401,
    says: 'expired',
    headers: { 'www-authenticate': /error_description="The token has expired"/ },
    audited: failedAuth('expired'),
  },
  {
    name: 'a token for another audience',
    send: bearer(token({ aud: 'https://other.test' })),
    status: 401,
    code: 401,
    says: 'another audience',
    audited: failedAuth('wrong audience'),
  },
  {
    name: 'a foreign Origin',
    send: withHeaders({ origin: 'https://evil.example' }),
    status: 403,
    code: 403,
    says: 'Origin',
    audited: { type: 'request.refused', reason: 'foreign origin' },
  },
  {
    name: 'a foreign Host',
    send: withHeaders({ host: 'evil.example' }),
    status: 403,
    code: 403,
    says: 'Host',
    audited: { type: 'request.refused', reason: 'foreign host' },
  },
  { name: 'an unknown tool', send: callTool('nope'), status: 200, code: -32602, says: 'Unknown tool', id: 7 },
  { name: 'a failing tool', send: callTool('bug'), status: 200, code: -32603, says: 'Internal error', id: 7 },
  { name: 'a limited tool', send: callTool('limited'), status: 429, code: 429, headers: { 'retry-after': '2' }, id: 7 },
  {
    name: 'a tool beyond the scopes',
    send: callTool('scope'),
    status: 403,
    code: 403,
    headers: { 'www-authenticate': /insufficient_scope/ },
    id: 7,
  },
  { name: 'an unknown path', send: good, path: '/nothing', status: 404, code: -32600, says: '/mcp' },
  { name: 'an absolute request target', send: good, path: 'http://evil.example/mcp', status: 404, code: -32600 },
  { name: 'an unknown HTTP method', send: { ...good, method: 'PUT' }, status: 405, code: -32600, headers: { allow: 'POST, GET, DELETE' } },
  {
    name: 'GET in the modern era',
    send: { method: 'GET', headers: { ...good.headers, accept: 'text/event-stream' } },
    status: 405,
    code: -32600,
    headers: { allow: 'POST' },
  },
  {
    name: 'DELETE in the modern era',
    send: { method: 'DELETE', headers: good.headers },
    status: 405,
    code: -32600,
    headers: { allow: 'POST' },
  },
  {
    name: 'a legacy request without a session',
    send: { ...without('mcp-protocol-version'), body: '{"jsonrpc":"2.0","id":7,"method":"tools/list"}' },
    status: 400,
    code: -32600,
    says: 'Mcp-Session-Id',
    id: 7,
  },
  {
    name: 'an unknown session',
    send: {
      ...without('mcp-protocol-version'),
      headers: { ...without('mcp-protocol-version').headers, 'mcp-session-id': 'nope' },
      body: '{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
    },
    status: 404,
    code: -32600,
    says: 'session',
    id: 7,
  },
];

describe('bad input over HTTP', () => {
  it.each(rows)('$name gets $status and $code', async (row) => {
    const { url, audit } = await startHttp({ service: testService().service, limits: { maxMessageBytes: 65_536 } });
    const before = audit.events.length;
    const answer = await send(url, row.send, row.path);
    expect(answer.status).toBe(row.status);
    const body = JSON.parse(answer.body);
    expect(body).toMatchObject({ jsonrpc: '2.0', id: row.id ?? null, error: { code: row.code, message: expect.any(String) } });
    if (row.says !== undefined) expect(body.error.message).toMatch(row.says);
    for (const [name, value] of Object.entries(row.headers ?? {})) expect(answer.headers[name]).toMatch(value);
    expect(answer.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
    expect(answer.body).not.toMatch(/\.ts:|\.js:|node_modules|secret detail/);
    const events = audit.events.slice(before);
    if (row.audited === undefined) expect(events).toEqual([]);
    else
      expect(events).toEqual([
        expect.objectContaining({ ...row.audited, outcome: 'denied', remoteAddress: '127.0.0.1', transport: 'http' }),
      ]);
    // Nobody else is harmed.
    expect((await fetch(url, callTool('echo', { still: 'here' }))).status).toBe(200);
  });

  it('answers every bad request of one keep-alive connection and still serves the next good one', async () => {
    const { url, server } = await startHttp({ service: testService().service });
    const socket = connect(Number(url.port), url.hostname);
    const raw = (init: { headers: Record<string, string>; body: string }) =>
      `POST /mcp HTTP/1.1\r\n${Object.entries({ host: url.host, ...init.headers, 'content-length': String(Buffer.byteLength(init.body)) })
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n${init.body}`;
    let received = '';
    const statuses = () => [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
    const answered = (count: number) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (statuses().length >= count && received.endsWith('}')) {
            socket.off('data', check);
            resolve();
          }
        };
        socket.on('data', check);
      });
    socket.on('data', (chunk) => (received += chunk.toString()));
    const bad = [
      withBody('{'),
      withBody('[]'),
      withHeaders({ 'content-type': 'text/html' }),
      bearer('x.y.z'),
      callTool('nope'),
      withHeaders({ 'mcp-method': 'x' }),
    ];
    for (const [index, init] of [...bad, good].entries()) {
      const done = answered(index + 1);
      socket.write(raw(init as never));
      await done;
    }
    expect(statuses()).toEqual(['400', '400', '415', '401', '200', '400', '200']);
    expect(server.metrics().activeConnections).toBe(1);
    socket.destroy();
  });

  it('serves the hosts and origins it is told to, and only those', async () => {
    const { url } = await startHttp({
      service: testService().service,
      http: { host: '0.0.0.0', allowedHosts: ['mcp.example'], allowedOrigins: ['app.example'] },
    });
    const status = async (headers: Record<string, string>) =>
      (await send(new URL(`http://127.0.0.1:${url.port}/mcp`), withHeaders(headers))).status;
    expect(await status({ host: 'mcp.example:8443' })).toBe(200);
    expect(await status({ host: 'mcp.example', origin: 'https://app.example' })).toBe(200);
    expect(await status({ host: 'mcp.example', origin: 'http://localhost:3000' })).toBe(403);
    expect(await status({ host: 'mcp.example', origin: 'null' })).toBe(403);
    expect(await status({ host: 'localhost' })).toBe(403);
  });

  it.each(['/mcp', '/healthz', '/ws'])('refuses a request for %s with two Host headers', async (path) => {
    const upgrades = [encryptedWebSocket({ path: '/ws' })];
    const { url } = await startHttp({ service: testService().service, http: { upgrades } });
    const ask = (...hosts: string[]) => {
      const socket = connect(Number(url.port), url.hostname);
      const upgrade = path === '/ws' ? 'Connection: Upgrade\r\nUpgrade: websocket\r\n' : 'Connection: close\r\n';
      socket.write(`GET ${path} HTTP/1.1\r\n${hosts.map((host) => `hOsT: ${host}\r\n`).join('')}${upgrade}\r\n`);
      return new Promise<string | undefined>((resolve) => {
        let text = '';
        socket.on('data', (chunk) => (text += chunk));
        socket.on('close', () => resolve(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]));
      });
    };
    expect(await ask(url.host, url.host)).toBe('400');
    expect(await ask(url.host, 'evil.example')).toBe('400');
    expect(await ask(url.host)).not.toBe('403');
  });

  it.each([
    ['h2c', { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' }],
    ['a WebSocket', { connection: 'Upgrade', upgrade: 'websocket' }],
  ])('serves a POST that would rather have %s as if it did not', async (_name, headers) => {
    const upgrades = [encryptedWebSocket({ path: '/ws' })];
    const { url } = await startHttp({ service: testService().service, http: { upgrades } });
    const answer = await send(url, withHeaders(headers as Record<string, string>));
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('\\"a\\":1');
  });

  it('gives up on a body that does not come', async () => {
    const { url } = await startHttp({ service: testService().service, http: { bodyTimeoutMs: 50 } });
    const answer = await new Promise<Answer>((resolve, reject) => {
      const request = httpRequest(
        { host: url.hostname, port: url.port, path: '/mcp', method: 'POST', headers: { ...good.headers, 'content-length': '100' } },
        (response) => {
          let body = '';
          response.on('data', (chunk) => (body += chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
        },
      );
      request.on('error', reject);
      request.write('{');
    });
    expect(answer.status).toBe(408);
    expect(answer.headers.connection).toBe('close');
    expect(JSON.parse(answer.body).error.message).toContain('50 ms');
  });

  it('survives what is not HTTP at all', async () => {
    const { url } = await startHttp({ service: testService().service });
    const socket = connect(Number(url.port), url.hostname);
    const answer = new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => (text += chunk));
      socket.on('close', () => resolve(text));
    });
    socket.write('\u0000\u0001 nonsense\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1\.1 400/);
    expect((await fetch(url, callTool('echo'))).status).toBe(200);
  });

  it('reports the details of an unexpected failure to the operator only', async () => {
    const { url, errors, server } = await startHttp({ service: testService().service });
    await fetch(url, callTool('bug'));
    expect(errors.map((error) => error.message)).toEqual(['secret detail of the failure']);
    expect(server.metrics().errors).toBe(1);
  });
});
