import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { HttpListener, http, jwt } from '../src/index.js';
import { connectHttp, jsonOf } from './support/clients.js';
import { AUDIENCE, ISSUER, SECRET, startHttp, testService, token } from './support/server.js';

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
};

const headers = (subject = 'alice', session?: string, more: Record<string, string> = {}) => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  authorization: `Bearer ${token({ sub: subject })}`,
  ...(session === undefined ? {} : { 'mcp-session-id': session }),
  ...more,
});

const post = (url: URL, body: unknown, subject?: string, session?: string, more?: Record<string, string>) =>
  fetch(url, { method: 'POST', headers: headers(subject, session, more), body: JSON.stringify(body) });

async function open(url: URL, subject = 'alice', more: Record<string, string> = {}): Promise<string> {
  const response = await post(url, INITIALIZE, subject, undefined, more);
  await response.text();
  expect(response.status).toBe(200);
  const id = response.headers.get('mcp-session-id') as string;
  expect(id).toMatch(/^[\da-f-]{36}$/);
  const initialized = await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, subject, id, more);
  expect(initialized.status).toBe(202);
  return id;
}

const LIST = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
const call = (name: string, args = {}) => ({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name, arguments: args } });

/** The JSON-RPC messages of an event stream, with their ids. */
function events(text: string): { id: string | undefined; data: string }[] {
  return text
    .split('\n\n')
    .map((block) => ({ id: /^id: (.*)$/m.exec(block)?.[1], data: /^data: ?(.*)$/m.exec(block)?.[1] ?? '' }))
    .filter(({ id, data }) => id !== undefined || data !== '');
}

describe('a legacy session', () => {
  it('cannot be kept from others by somebody who opens as many as there may be', async () => {
    const { url, server } = await startHttp({ service: testService().service, http: { sessions: { maxSessions: 4 } } });
    const flood: string[] = [];
    for (let opened = 0; opened < 4; opened += 1) flood.push(await open(url, 'mallory'));
    expect((await post(url, INITIALIZE, 'mallory')).status).toBe(503);
    await post(url, LIST, 'mallory', flood[0]).then((response) => response.text());
    const mine = await open(url, 'alice');
    const second = await open(url, 'bob');
    // Two are mallory's, one alice's, one bob's: nobody holds so many more that they must yield.
    expect((await post(url, INITIALIZE, 'alice')).status).toBe(503);
    const status = async (subject: string, session: string | undefined) => {
      const response = await post(url, LIST, subject, session);
      await response.text();
      return response.status;
    };
    expect(await Promise.all(flood.map((session) => status('mallory', session)))).toEqual([200, 404, 404, 200]);
    expect(await status('alice', mine)).toBe(200);
    expect(await status('bob', second)).toBe(200);
    expect(server.metrics().errors).toBe(0);
  });

  it('belongs to the principal who opened it', async () => {
    const { url } = await startHttp({ service: testService().service });
    const session = await open(url, 'alice');
    expect((await post(url, LIST, 'mallory', session)).status).toBe(404);
    expect((await fetch(url, { method: 'DELETE', headers: headers('mallory', session) })).status).toBe(404);
    expect((await fetch(url, { headers: headers('mallory', session) })).status).toBe(404);
    expect((await post(url, LIST, 'alice', session)).status).toBe(200);
  });

  it('acts with the credentials of each request, not with those it was opened with', async () => {
    const { url } = await startHttp({ service: testService().service });
    const session = await open(url);
    const admin = { authorization: `Bearer ${token({ roles: ['admin'] })}` };
    const text = await (await post(url, call('whoami'), 'alice', session, admin)).text();
    expect(text).toContain('\\"roles\\":[\\"admin\\"]');
  });

  it('ends with DELETE', async () => {
    const { url } = await startHttp({ service: testService().service });
    const session = await open(url);
    const end = () => fetch(url, { method: 'DELETE', headers: headers('alice', session) });
    expect((await end()).status).toBe(200);
    expect((await end()).status).toBe(404);
    expect((await post(url, LIST, 'alice', session)).status).toBe(404);
  });

  it('ends when idle, but not while a stream is open', async () => {
    const clock = new ManualClock(Date.now());
    const listener = http({ port: 0, sessions: { idleTimeoutMs: 60_000 } });
    const { server } = await startHttp({ service: testService().service, clock, listeners: [listener] });
    const url = new URL(server.endpoints[0] as string);
    const [idle, used, streaming] = [await open(url), await open(url), await open(url)];
    const stream = await fetch(url, { headers: headers('alice', streaming, { accept: 'text/event-stream' }) });
    expect(stream.status).toBe(200);
    await clock.advance(40_000);
    await (await post(url, LIST, 'alice', used)).text();
    await clock.advance(20_000);
    expect(listener.sessionCount).toBe(2);
    expect((await post(url, LIST, 'alice', idle)).status).toBe(404);
    await clock.advance(500_000);
    expect(listener.sessionCount).toBe(1);
    expect((await post(url, LIST, 'alice', streaming)).status).toBe(200);
    await stream.body?.cancel();
  });

  it('is not opened beyond the limit', async () => {
    const { url } = await startHttp({ service: testService().service, http: { sessions: { maxSessions: 2 } } });
    await open(url);
    const second = await open(url);
    const refused = await post(url, INITIALIZE);
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(await refused.json()).toMatchObject({ id: 1, error: { code: 503 } });
    await fetch(url, { method: 'DELETE', headers: headers('alice', second) });
    await open(url);
  });

  it('is not left behind by an initialize that fails', async () => {
    const listener = http({ port: 0 });
    const { server } = await startHttp({ service: testService().service, listeners: [listener] });
    const url = new URL(server.endpoints[0] as string);
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers(), accept: 'application/json' },
      body: JSON.stringify(INITIALIZE),
    });
    expect(response.status).toBe(406);
    expect(listener.sessionCount).toBe(0);
    await (await post(url, { ...INITIALIZE, params: {} })).text();
    expect(listener.sessionCount).toBe(0);
  });

  it('resumes a stream with Last-Event-ID, its own only', async () => {
    const { url } = await startHttp({ service: testService().service });
    const session = await open(url);
    const answered = events(
      await (await post(url, call('echo', { n: 1 }), 'alice', session, { 'mcp-protocol-version': '2025-11-25' })).text(),
    );
    expect(answered).toHaveLength(2);
    const [priming, result] = answered;
    expect(priming?.data).toBe('');
    const resume = (id: string) =>
      fetch(url, {
        headers: headers('alice', id, {
          'last-event-id': priming?.id as string,
          'mcp-protocol-version': '2025-11-25',
          accept: 'text/event-stream',
        }),
      });
    const replayed = await resume(session);
    expect(replayed.status).toBe(200);
    expect(events(await replayed.text())).toEqual([result]);
    expect((await resume(await open(url))).status).toBe(400);
  });

  it('forgets the oldest events when the replay buffer is full', async () => {
    const { url } = await startHttp({ service: testService().service, http: { sessions: { replayBufferBytes: 2000 } } });
    const session = await open(url);
    const version = { 'mcp-protocol-version': '2025-11-25' };
    const first = events(await (await post(url, call('echo'), 'alice', session, version)).text())[0]?.id as string;
    const resume = async (id: string) =>
      (await fetch(url, { headers: headers('alice', session, { ...version, 'last-event-id': id, accept: 'text/event-stream' }) })).status;
    expect(await resume(first)).toBe(200);
    const big = events(await (await post(url, call('big', { bytes: 5000 }), 'alice', session, version)).text());
    expect(big.at(-1)?.data).toContain('xxxxx');
    expect(await resume(first)).toBe(400);
    expect(await resume(big[0]?.id as string)).toBe(400);
    const last = events(await (await post(url, call('echo'), 'alice', session, version)).text())[0]?.id as string;
    expect(await resume(last)).toBe(200);
  });

  it('keeps the result of a call whose client went away in the middle', async () => {
    const { service, open: openGate, started } = testService();
    const { url } = await startHttp({ service });
    const session = await open(url);
    const version = { 'mcp-protocol-version': '2025-11-25' };
    const response = await post(url, call('slow'), 'alice', session, version);
    const reader = (response.body as ReadableStream).getReader();
    const priming = events(new TextDecoder().decode((await reader.read()).value))[0];
    await started;
    await reader.cancel();
    openGate();
    const replayed = await fetch(url, {
      headers: headers('alice', session, { ...version, 'last-event-id': priming?.id as string, accept: 'text/event-stream' }),
    });
    const stream = (replayed.body as ReadableStream).pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('done')) text += (await stream.read()).value ?? '';
    await stream.cancel();
    expect(text).toContain('\\"done\\"');
  });
});

describe('credentials that expire', () => {
  it('end the streams opened with them, in both eras; the session goes on with new ones', async () => {
    const clock = new ManualClock(Date.now());
    const authenticator = jwt({ key: SECRET, algorithms: ['HS256'], issuer: ISSUER, audience: AUDIENCE, clock });
    const { service } = testService();
    const { url } = await startHttp({ service, clock, authenticators: [authenticator] });
    const seconds = Math.floor(clock.now() / 1000);
    const short = { authorization: `Bearer ${token({ exp: seconds + 60 })}` };
    const long = { authorization: `Bearer ${token({ exp: seconds + 3600 })}` };
    const session = await open(url, 'alice', short);
    const stream = await fetch(url, { headers: headers('alice', session, { ...short, accept: 'text/event-stream' }) });
    const client = await connectHttp('auto', url, { headers: short });
    const subscription = await client.listen({ toolsListChanged: true });
    await clock.advance(60_000);
    await stream.text();
    await subscription.closed;
    expect((await post(url, LIST, 'alice', session, short)).status).toBe(401);
    expect((await post(url, LIST, 'alice', session, long)).status).toBe(200);
    const renewed = await connectHttp('auto', url, { headers: long });
    expect(jsonOf(await renewed.callTool({ name: 'echo' }))).toEqual({});
  });
});

it('has the class of the listener for instanceof', () => {
  expect(http({ port: 0 })).toBeInstanceOf(HttpListener);
});
