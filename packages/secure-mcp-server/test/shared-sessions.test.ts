import { MemoryStateStore, RpcError, type StateStore } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { RedisStateStore } from '@mcp-blocks/shared-state/redis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type HttpListener, http } from '../src/index.js';
import { startHttp, testService, token } from './support/server.js';

const VERSION = { 'mcp-protocol-version': '2025-11-25' };

const headers = (subject: string, session?: string, more: Record<string, string> = {}) => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  authorization: `Bearer ${token({ sub: subject })}`,
  ...VERSION,
  ...(session === undefined ? {} : { 'mcp-session-id': session }),
  ...more,
});

const post = (url: URL, body: object, session?: string, subject = 'alice') =>
  fetch(url, { method: 'POST', headers: headers(subject, session), body: JSON.stringify({ jsonrpc: '2.0', ...body }) });

const get = (url: URL, session: string, lastEventId?: string, subject = 'alice') =>
  fetch(url, {
    headers: headers(subject, session, {
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    }),
  });

async function open(url: URL): Promise<string> {
  const params = { protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo: { name: 'raw', version: '1' } };
  const response = await post(url, { id: 1, method: 'initialize', params });
  await response.text();
  const id = response.headers.get('mcp-session-id') as string;
  await post(url, { method: 'notifications/initialized' }, id);
  return id;
}

const call = (name: string, args = {}) => ({ id: 3, method: 'tools/call', params: { name, arguments: args } });

/** The ids and messages of an event stream's text. */
const events = (text: string) =>
  text
    .split('\n\n')
    .map((block) => ({ id: /^id: (.*)$/m.exec(block)?.[1], data: /^data: ?(.*)$/m.exec(block)?.[1] ?? '' }))
    .filter(({ id }) => id !== undefined);

/** Reads an open stream until it has what is looked for. */
async function readUntil(response: Response, wanted: string): Promise<string> {
  const reader = (response.body as ReadableStream).pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (!text.includes(wanted)) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the stream ended before it had ${wanted}: ${text}`);
    text += value;
  }
  await reader.cancel();
  return text;
}

const stores: Record<string, () => StateStore> = {
  memory: () => new MemoryStateStore(),
  Redis: () => new RedisStateStore({ url: process.env.MCP_BLOCKS_REDIS_URL as string, keyPrefix: `sessions-${crypto.randomUUID()}:` }),
};

describe.each(Object.keys(stores))('a session in a store that two nodes share (%s)', (kind) => {
  async function twoNodes(more: { maxSessions?: number; maxEventsPerSession?: number } = {}) {
    const store = (stores[kind] as () => StateStore)();
    onTestFinished(() => store.close());
    const nodes = await Promise.all(
      [1, 2].map(async () => {
        const state = testService();
        const listener: HttpListener = http({ port: 0, sessions: { store, ...more } });
        const { server, errors } = await startHttp({ service: state.service, listeners: [listener] });
        return { ...state, events: state.events, listener, server, errors, url: new URL(server.endpoints[0] as string) };
      }),
    );
    return { store, a: nodes[0] as (typeof nodes)[0], b: nodes[1] as (typeof nodes)[0] };
  }

  it('goes on, on the other node, when its own is gone', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    await a.server.stop();
    const response = await post(b.url, call('whoami'), session);
    expect(response.status).toBe(200);
    expect(response.headers.get('mcp-session-id')).toBe(session);
    const text = await response.text();
    expect(text).toContain('\\"hasSession\\":true');
    expect(text).toContain('\\"protocolVersion\\":\\"2025-11-25\\"');
    expect([...a.errors, ...b.errors]).toEqual([]);
  });

  it('resumes a broken stream on the other node', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    const [priming, result] = events(await (await post(a.url, call('echo', { n: 1 }), session)).text());
    await a.server.stop();
    const replayed = await get(b.url, session, priming?.id);
    expect(replayed.status).toBe(200);
    const [again, ...more] = events(await replayed.text());
    expect([again?.id, JSON.parse(again?.data as string), more]).toEqual([result?.id, JSON.parse(result?.data as string), []]);
  });

  it('gets what its client has subscribed to, over the stream on the other node', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    await (await post(a.url, { id: 4, method: 'resources/subscribe', params: { uri: 'test://kept' } }, session)).text();
    await (await post(a.url, { id: 5, method: 'resources/subscribe', params: { uri: 'test://left' } }, session)).text();
    await (await post(a.url, { id: 6, method: 'resources/unsubscribe', params: { uri: 'test://left' } }, session)).text();
    await a.server.stop();
    const stream = await get(b.url, session);
    b.events.publish({ kind: 'resource_updated', uri: 'test://left' });
    b.events.publish({ kind: 'resource_updated', uri: 'test://kept' });
    const text = await readUntil(stream, 'test://kept');
    expect(text).not.toContain('test://left');
  });

  it('asks its client on the other node, with the capabilities it declared on the first', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    await a.server.stop();
    const schema = { message: 'Sure?', requestedSchema: { type: 'object', properties: {} } };
    const asking = await post(b.url, call('ask', schema), session);
    const text = await readUntil(asking, 'elicitation/create');
    const { id } = JSON.parse(events(text).at(-1)?.data as string);
    expect((await post(b.url, { id, result: { action: 'decline' } }, session)).status).toBe(202);
    const answer = await get(b.url, session, events(text).at(-1)?.id);
    expect(await readUntil(answer, 'decline')).toContain('\\"decline\\"');
  });

  it('belongs to its principal on every node', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    expect((await post(b.url, call('whoami'), session, 'mallory')).status).toBe(404);
    expect((await get(b.url, session, undefined, 'mallory')).status).toBe(404);
    expect(b.listener.sessionCount).toBe(0);
  });

  it('ends everywhere with DELETE on either node', async () => {
    const { a, b, store } = await twoNodes();
    const session = await open(a.url);
    const [priming] = events(await (await post(a.url, call('echo'), session)).text());
    expect((await fetch(b.url, { method: 'DELETE', headers: headers('alice', session) })).status).toBe(200);
    expect((await post(a.url, call('echo'), session)).status).toBe(404);
    expect((await post(b.url, call('echo'), session)).status).toBe(404);
    expect(a.listener.sessionCount + b.listener.sessionCount).toBe(0);
    expect(await store.get(`mcp-session:${session}:event:${priming?.id}`)).toBeUndefined();
  });

  it('is rebuilt once for requests that come at the same time', async () => {
    const { a, b } = await twoNodes();
    const session = await open(a.url);
    const answers = await Promise.all([1, 2, 3, 4].map((n) => post(b.url, { ...call('echo', { n }), id: n }, session)));
    expect(await Promise.all(answers.map((answer) => answer.text()))).toHaveLength(4);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(b.listener.sessionCount).toBe(1);
  });

  it('makes room when the node is full, and is not lost by it', async () => {
    const { a } = await twoNodes({ maxSessions: 1 });
    const first = await open(a.url);
    const second = await open(a.url);
    expect(a.listener.sessionCount).toBe(1);
    for (const session of [first, second, first]) {
      const response = await post(a.url, call('echo'), session);
      expect(response.status).toBe(200);
      // A session whose answer is on its way is in use, and does not make room.
      await response.text();
    }
    expect(a.listener.sessionCount).toBe(1);
  });

  it('forgets the oldest events beyond the bound', async () => {
    const { a, b } = await twoNodes({ maxEventsPerSession: 4 });
    const session = await open(a.url);
    const first = events(await (await post(a.url, call('echo'), session)).text())[0]?.id;
    await (await post(a.url, call('echo'), session)).text();
    const last = events(await (await post(a.url, call('echo'), session)).text())[0]?.id;
    expect((await get(b.url, session, first)).status).toBe(400);
    expect((await get(b.url, session, last)).status).toBe(200);
    expect((await get(b.url, session, 'nonsense')).status).toBe(400);
  });
});

describe('a shared session', () => {
  it('ends when idle on every node, but not while a stream is open on one', async () => {
    const clock = new ManualClock(Date.now());
    const store = new MemoryStateStore({ clock });
    const sessions = { store, idleTimeoutMs: 60_000 };
    const { url: a } = await startHttp({ service: testService().service, clock, http: { sessions } });
    const { url: b } = await startHttp({ service: testService().service, clock, http: { sessions } });
    const [idle, used, streaming] = [await open(a), await open(a), await open(a)];
    const stream = await get(a, streaming);
    for (let step = 0; step < 4; step += 1) {
      await clock.advance(20_000);
      expect((await post(b, call('echo'), used)).status).toBe(200);
    }
    expect((await post(a, call('echo'), idle)).status).toBe(404);
    expect((await post(b, call('echo'), idle)).status).toBe(404);
    expect((await post(b, call('echo'), streaming)).status).toBe(200);
    await stream.body?.cancel();
    await clock.advance(200_000);
    expect((await post(b, call('echo'), streaming)).status).toBe(404);
  });

  it('is refused with 503 while the store cannot be reached, and goes on when it can', async () => {
    const store = new FailingStore();
    const { url } = await startHttp({ service: testService().service, http: { sessions: { store } } });
    const session = await open(url);
    store.down = ['get'];
    expect((await post(url, call('echo'), session)).status).toBe(503);
    store.down = [];
    expect((await post(url, call('echo'), session)).status).toBe(200);
  });

  it('delivers what cannot be kept for a resumption, and reports it', async () => {
    const store = new FailingStore();
    const { url, errors } = await startHttp({ service: testService().service, http: { sessions: { store } } });
    const session = await open(url);
    store.down = ['increment'];
    const sent = events(await (await post(url, call('echo', { n: 5 }), session)).text());
    expect(sent.at(-1)?.data).toContain('\\"n\\":5');
    expect(errors.map(({ message }) => message)).toContain('The store is out of reach');
    expect((await get(url, session, sent[0]?.id)).status).toBe(400);
  });
});

/** A store that can lose its backend, method by method. */
class FailingStore extends MemoryStateStore {
  down: string[] = [];

  override get(key: string) {
    return this.#reach('get') ?? super.get(key);
  }

  override increment(key: string, by: number, options?: { readonly ttlMs?: number }) {
    return this.#reach('increment') ?? super.increment(key, by, options);
  }

  #reach(method: string): Promise<never> | undefined {
    return this.down.includes(method) ? Promise.reject(new RpcError('unavailable', 'The store is out of reach')) : undefined;
  }
}

it('one principal opens no more sessions than it may, and is told which limit that is', async () => {
  const { url } = await startHttp({ service: testService().service, http: { sessions: { maxSessionsPerPrincipal: 2 } } });
  await open(url);
  await open(url);
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
  const refused = await post(url, { id: 1, method: 'initialize', params });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
  expect(await refused.text()).toContain('maxSessionsPerPrincipal');
  expect((await post(url, { id: 1, method: 'initialize', params }, undefined, 'bob')).status).toBe(200);
});

it('a session takes no more memory or store than what makes it one', async () => {
  const store = new MemoryStateStore();
  onTestFinished(() => store.close());
  const { url } = await startHttp({ service: testService().service, http: { sessions: { store } } });
  const session = await open(url);
  const junk = 'x'.repeat(100_000);
  for (const [method, params] of [
    ['resources/subscribe', { uri: 'test://kept' }],
    ['logging/setLevel', { level: 'info' }],
  ] as const) {
    await (await post(url, { id: `${method}${junk}`, method, params: { ...params, junk, _meta: { junk } } }, session)).text();
  }
  const record = JSON.stringify(await store.get(`mcp-session:${session}`));
  expect(record).toContain('test://kept');
  expect(record.length).toBeLessThan(1000);
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: junk, version: '1' } };
  const refused = await post(url, { id: 1, method: 'initialize', params });
  expect([refused.status, await refused.text()]).toEqual([413, expect.stringContaining('initialize: expected at most 65536')]);
});
