import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { ConfigurationError, type Listener, RpcError } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { http, SecureMCPServer, type SecureMCPServerOptions, stdio } from '../src/index.js';
import { connectHttp, jsonOf } from './support/clients.js';
import { callTool, modernRequest, startHttp, testJwt, testService, token } from './support/server.js';

const probe = async (url: URL, path: string) => {
  const response = await fetch(new URL(path, url));
  return { status: response.status, body: await response.json() };
};

/** The status of a GET that shares no connection with others. */
const onNewConnection = (url: URL, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const sent = httpRequest({ host: url.hostname, port: url.port, path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode as number);
    });
    sent.once('error', reject).end();
  });

describe('the options', () => {
  const valid = () => ({ service: testService().service, authenticators: [testJwt()], listeners: [http({ port: 0 })] });
  it.each<[string, string, () => unknown]>([
    ['no authenticator', 'authenticators', () => new SecureMCPServer({ ...valid(), authenticators: [] })],
    ['no listener', 'listeners', () => new SecureMCPServer({ ...valid(), listeners: [] })],
    ['two stdio listeners', 'listeners', () => new SecureMCPServer({ ...valid(), listeners: [stdio(), stdio()] })],
    ['a limit of 0', 'limits.maxJsonDepth', () => new SecureMCPServer({ ...valid(), limits: { maxJsonDepth: 0 } })],
    ['a fractional limit', 'limits.requestTimeoutMs', () => new SecureMCPServer({ ...valid(), limits: { requestTimeoutMs: 1.5 } })],
    ['a port out of range', 'http.port', () => http({ port: 70_000 })],
    ['a path that is none', 'http.path', () => http({ port: 0, path: 'mcp' })],
    ['a delay that is longer than ten minutes', 'http.drainDelayMs', () => http({ port: 0, drainDelayMs: 600_001 })],
    ['a path used twice', 'http.path', () => http({ port: 0, path: '/healthz' })],
    ['a public address without allowedHosts', 'allowedHosts', () => http({ port: 0, host: '0.0.0.0' })],
    ['an old TLS version', 'http.tls.minVersion', () => http({ port: 0, tls: { cert: '', key: '', minVersion: 'TLSv1' as never } })],
    [
      'a principal and a token',
      'stdio.token',
      () => stdio({ token: 'a', principal: { id: 'a', authentication: 'x', roles: [], scopes: [] } }),
    ],
  ])('%s is refused, naming %s', (_name, option, make) => {
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(expect.objectContaining({ option }));
  });

  it('let everybody in only when they say so, and nobody with wrong credentials', async () => {
    const { url } = await startHttp({ service: testService().service, authenticators: [], allowAnonymous: true });
    const client = await connectHttp('auto', url, { headers: {} });
    expect(jsonOf(await client.callTool({ name: 'whoami' }))).toMatchObject({ id: 'anonymous', roles: [] });
    expect((await fetch(url, callTool('whoami', {}, { authorization: 'Bearer whatever' }))).status).toBe(401);
    expect((await fetch(url, callTool('whoami', {}, { 'x-api-key': 'whatever' }))).status).toBe(401);
  });
});

describe('the life of a server', () => {
  it('goes from created to stopped, and can start again', async () => {
    const statuses: string[] = [];
    const server = new SecureMCPServer({ service: testService().service, authenticators: [testJwt()], listeners: [http({ port: 0 })] });
    onTestFinished(() => server.stop());
    server.on('statusChange', ({ to }) => statuses.push(to));
    expect(server.status).toBe('created');
    expect(server.endpoints).toEqual([]);
    await server.start();
    await expect(server.start()).rejects.toThrow('running');
    expect(server.endpoints).toEqual([expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/mcp$/)]);
    await server.drain();
    await server.stop();
    await server.stop();
    expect(server.endpoints).toEqual([]);
    await server.start();
    expect((await fetch(server.endpoints[0] as string, callTool('echo'))).status).toBe(200);
    expect(statuses).toEqual(['starting', 'running', 'draining', 'stopped', 'starting', 'running']);
  });

  it('stops when it is told to while it starts', async () => {
    const listener = http({ port: 0 });
    const server = new SecureMCPServer({ service: testService().service, authenticators: [testJwt()], listeners: [listener] });
    const starting = server.start();
    await server.stop();
    await starting;
    expect(server.status).toBe('stopped');
    expect(listener.endpoint).toBeUndefined();
  });

  it('closes what it started when a listener fails', async () => {
    const first = http({ port: 0 });
    const { url } = await startHttp({ service: testService().service });
    const server = new SecureMCPServer({
      service: testService().service,
      authenticators: [testJwt()],
      listeners: [first, http({ port: Number(url.port) })],
    });
    await expect(server.start()).rejects.toThrow('EADDRINUSE');
    expect(server.status).toBe('error');
    expect(first.endpoint).toBeUndefined();
  });

  it('answers probes without credentials and whatever the Host, ready only when all of it is', async () => {
    let finishStart: () => void = () => {};
    const slow: Listener = {
      name: 'slow',
      endpoint: undefined,
      listen: () => new Promise((resolve) => (finishStart = resolve)),
      drain: async () => {},
      close: async () => {},
    };
    const listener = http({ port: 0 });
    const server = new SecureMCPServer({ service: testService().service, authenticators: [testJwt()], listeners: [listener, slow] });
    onTestFinished(() => server.stop());
    const started = server.start();
    while (listener.endpoint === undefined) await settle();
    const url = new URL(listener.endpoint);
    expect(await probe(url, '/healthz')).toEqual({ status: 200, body: { status: 'ok' } });
    expect(await probe(url, '/readyz')).toEqual({ status: 503, body: { status: 'not ready' } });
    await settle();
    finishStart();
    await started;
    expect(await probe(url, '/readyz')).toEqual({ status: 200, body: { status: 'ready' } });
    const status = await new Promise((resolve) =>
      httpRequest({ port: url.port, host: url.hostname, path: '/healthz', headers: { host: '10.1.2.3' } }, (response) =>
        resolve(response.statusCode),
      ).end(),
    );
    expect(status).toBe(200);
  });

  it.each(['auto', 'v1'] as const)('drains without failing a request in progress (%s)', async (kind) => {
    const { service, started, open } = testService();
    const { url, server } = await startHttp({ service });
    const client = await connectHttp(kind, url);
    const result = client.callTool({ name: 'slow' });
    await started;
    let drained = false;
    const draining = server.drain(10_000).then(() => (drained = true));
    expect(server.status).toBe('draining');
    await expect(onNewConnection(url, '/readyz')).rejects.toThrow('ECONNREFUSED');
    await settle();
    expect(drained).toBe(false);
    open();
    expect(jsonOf(await result)).toBe('done');
    await draining;
    await server.stop();
    expect(server.metrics().activeConnections).toBe(0);
  });

  it('serves what still comes in over open connections while it drains, and asks them to close', async () => {
    const { service, started, open } = testService();
    const { url, server } = await startHttp({ service });
    const socket = connect(Number(url.port), url.hostname);
    let text = '';
    socket.on('data', (chunk) => (text += chunk));
    const raw = (init: ReturnType<typeof callTool>) =>
      `POST /mcp HTTP/1.1\r\n${Object.entries({ host: url.host, ...init.headers, 'content-length': String(init.body.length) })
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n${init.body}`;
    socket.write(raw(callTool('slow')));
    await started;
    const draining = server.drain(10_000);
    open();
    await draining;
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text).toMatch(/^HTTP\/1\.1 200/);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  });

  it('goes on serving for drainDelayMs, not ready and asking every connection to close, before the port closes', async () => {
    const clock = new ManualClock(Date.now());
    const { url, server } = await startHttp({ service: testService().service, clock, http: { drainDelayMs: 5000 } });
    const draining = server.drain(10_000);
    await clock.advance(4999);
    expect(await onNewConnection(url, '/readyz')).toBe(503);
    const response = await fetch(url, callTool('echo'));
    expect([response.status, response.headers.get('connection')]).toEqual([200, 'close']);
    await response.text();
    await clock.advance(1);
    await draining;
    await expect(onNewConnection(url, '/readyz')).rejects.toThrow('ECONNREFUSED');
  });

  it('does not wait for drainDelayMs beyond the deadline, nor when it is stopped', async () => {
    const clock = new ManualClock(Date.now());
    const { server } = await startHttp({ service: testService().service, clock, http: { drainDelayMs: 60_000 } });
    const draining = server.drain(1000);
    await clock.advance(1000);
    await draining;
    await server.stop();
    await server.start();
    const cut = server.drain(60_000);
    await server.stop();
    await cut;
    expect(clock.pendingTimers).toBe(0);
  });

  it('cancels what is not done at the deadline', async () => {
    const clock = new ManualClock(Date.now());
    const state = testService();
    const { url, server } = await startHttp({ service: state.service, clock });
    const response = fetch(url, callTool('slow'));
    await state.started;
    const draining = server.drain(5000);
    await clock.advance(5000);
    const { status } = await response;
    expect(status).toBe(503);
    await draining;
    expect(state.aborted).toBe(1);
  });

  it('ends subscriptions with their closing result', async () => {
    const { url, server } = await startHttp({ service: testService().service });
    const listening = await fetch(url, modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }));
    expect(listening.headers.get('content-type')).toBe('text/event-stream');
    const text = listening.text();
    await server.drain(10_000);
    const messages = (await text).split('\n\n').flatMap((block) => /^data: (.*)$/m.exec(block)?.[1] ?? []);
    expect(messages.map((message) => JSON.parse(message))).toEqual([
      expect.objectContaining({ method: 'notifications/subscriptions/acknowledged' }),
      expect.objectContaining({ id: 7, result: expect.objectContaining({ resultType: 'complete' }) }),
    ]);
  });
});

describe('a caller', () => {
  it('who goes away cancels its call', async () => {
    const state = testService();
    const { url } = await startHttp({ service: state.service });
    const gone = new AbortController();
    const response = fetch(url, { ...callTool('slow'), signal: gone.signal });
    await state.started;
    gone.abort();
    await expect(response).rejects.toThrow();
    while (state.aborted === 0) await settle();
    expect((await fetch(url, callTool('echo'))).status).toBe(200);
  });

  it('holds no more open streams than it may, in both eras together, and is told which limit that is', async () => {
    const { url } = await startHttp({ service: testService().service, http: { maxSubscriptionsPerPrincipal: 2 } });
    const listen = (headers = {}) =>
      fetch(url, modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }, headers));
    const first = await listen();
    const legacy = await connectHttp('v1', url);
    let refused = await listen();
    // The v1 client opens its stream after it has connected.
    while (refused.status === 200) {
      await refused.body?.cancel();
      await settle();
      refused = await listen();
    }
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
    expect(await refused.text()).toContain('maxSubscriptionsPerPrincipal');
    const other = await listen({ authorization: `Bearer ${token({ sub: 'bob' })}` });
    expect(other.status).toBe(200);
    expect(jsonOf(await legacy.callTool({ name: 'echo', arguments: {} }))).toEqual({});
    await first.body?.cancel();
    let again = await listen();
    while (again.status !== 200) {
      await again.text();
      await settle();
      again = await listen();
    }
    await Promise.all([again.body?.cancel(), other.body?.cancel()]);
  });

  it('may not subscribe to what it may not read', async () => {
    const { url } = await startHttp({ service: testService().service });
    const listen = (uri: string) => fetch(url, modernRequest('subscriptions/listen', { notifications: { resourceSubscriptions: [uri] } }));
    const refused = await listen('test://secret');
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({ id: 7, error: { code: 403, message: 'Not for you' } });
    const allowed = await listen('test://open');
    expect(allowed.status).toBe(200);
    await allowed.body?.cancel();
  });

  it('gets a timeout for a call that takes too long', async () => {
    const clock = new ManualClock(Date.now());
    const state = testService();
    const { url } = await startHttp({ service: state.service, clock, limits: { requestTimeoutMs: 1000 } });
    const response = fetch(url, callTool('slow'));
    await state.started;
    await clock.advance(1000);
    expect(await (await response).json()).toMatchObject({ error: { code: 408, data: { timeoutMs: 1000 } } });
    expect(state.aborted).toBe(1);
  });

  it('does not get in beyond maxConnections', async () => {
    const { url, server } = await startHttp({ service: testService().service, limits: { maxConnections: 1 } });
    const first = connect(Number(url.port), url.hostname);
    while (server.metrics().activeConnections === 0) await settle();
    await expect(fetch(url, callTool('echo'))).rejects.toThrow();
    first.destroy();
    while (server.metrics().activeConnections > 0) await settle();
    expect((await fetch(url, callTool('echo'))).status).toBe(200);
  });

  it('may not have more than maxInFlight requests in progress on one connection', async () => {
    const state = testService();
    const { url } = await startHttp({ service: state.service, limits: { maxInFlight: 2 } });
    const socket = connect(Number(url.port), url.hostname);
    let text = '';
    socket.on('data', (chunk) => (text += chunk));
    const init = callTool('slow');
    const headers = Object.entries({ host: url.host, ...init.headers, 'content-length': String(init.body.length) });
    const raw = `POST /mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${init.body}`;
    socket.write(raw.repeat(4));
    await state.started;
    while (state.calls < 2) await settle();
    await settle();
    state.open();
    const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
    while (statuses().length < 4) await new Promise((resolve) => socket.once('data', resolve));
    expect(statuses()).toEqual(['200', '200', '503', '503']);
    socket.destroy();
  });

  it('who does not read its stream is cut', async () => {
    const { service, events } = testService();
    const { url, server } = await startHttp({ service, http: { maxBufferedBytes: 1024 } });
    const init = modernRequest('subscriptions/listen', {
      notifications: { resourceSubscriptions: ['test://open'], toolsListChanged: true },
    });
    const socket = connect(Number(url.port), url.hostname);
    const headers = Object.entries({ host: url.host, ...init.headers, 'content-length': String(init.body.length) });
    socket.write(`POST /mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${init.body}`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    expect(server.metrics().activeConnections).toBe(1);
    while (server.metrics().activeConnections > 0) {
      events.publish({ kind: 'tools_list_changed' });
      await settle();
    }
    socket.destroy();
  });
});

describe('metrics, events and audit', () => {
  it('tell the truth', async () => {
    const clock = new ManualClock(Date.now());
    const options: Partial<SecureMCPServerOptions> = { clock };
    const seen: unknown[] = [];
    const { url, server, audit } = await startHttp({ service: testService().service, ...options });
    server.on('request', ({ method, principal, transport, errorCode }) => seen.push({ method, principal, transport, errorCode }));
    server.on('authFailure', ({ reason }) => seen.push({ reason }));
    server.on('rateLimited', ({ method, principal }) => seen.push({ limited: method, principal }));
    server.on('error', ({ message }) => seen.push({ message }));
    server.on('securityEvent', ({ type }) => seen.push({ type }));
    const unsubscribe = server.on('request', () => {
      throw new Error('a listener of its own mistakes');
    });
    const post = async (init: RequestInit) => (await fetch(url, init)).text();
    await post(callTool('echo'));
    unsubscribe();
    await post(callTool('limited'));
    await post(callTool('bug'));
    await post(callTool('nope'));
    await post(callTool('echo', {}, { authorization: '' }));
    await clock.advance(1234);
    const request = { method: 'tools/call', principal: 'alice', transport: 'http' };
    expect(seen).toEqual([
      { ...request, errorCode: undefined },
      { limited: 'tools/call', principal: 'alice' },
      { ...request, errorCode: 'rate_limited' },
      { message: 'secret detail of the failure' },
      { ...request, errorCode: 'internal_error' },
      { ...request, errorCode: 'invalid_params' },
      { type: 'auth.failed' },
      { reason: 'unrecognised credentials' },
    ]);
    expect(server.metrics()).toEqual({
      uptimeMs: 1234,
      totalRequests: 4,
      authFailures: 1,
      rateLimitHits: 1,
      activeConnections: expect.any(Number),
      errors: 1,
      latencyMs: { p50: 0, p95: 0, p99: 0, max: 0 },
      requestsPerSecond: 4 / 1.234,
    });
    await server.stop();
    expect(server.metrics()).toMatchObject({ uptimeMs: 0, totalRequests: 4, activeConnections: 0 });
    expect(audit.events.map(({ type }) => type)).toEqual(['server.started', 'auth.failed', 'server.stopped']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('never hold credentials', async () => {
    const { url, audit, errors } = await startHttp({ service: testService().service });
    await fetch(url, callTool('echo', {}, { authorization: 'Bearer SuperSecretValue' }));
    await fetch(url, callTool('echo', {}, { 'x-api-key': 'SuperSecretValue', authorization: '' }));
    expect(JSON.stringify([audit.events, errors])).not.toContain('SuperSecretValue');
  });

  it('refuse everybody when an authenticator fails, and say so to the operator', async () => {
    const { url, errors, audit } = await startHttp({
      service: testService().service,
      authenticators: [{ name: 'broken', authenticate: () => Promise.reject(new Error('directory is down')) }],
      allowAnonymous: true,
    });
    const response = await fetch(url, callTool('echo'));
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain('directory');
    expect(errors.map(({ message }) => message)).toEqual(['directory is down']);
    expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', reason: 'authenticator failed' });
  });

  it('do not admit a principal that has expired, whoever vouches for it', async () => {
    const { url } = await startHttp({
      service: testService().service,
      authenticators: [
        { name: 'stale', authenticate: async () => ({ id: 'a', authentication: 'x', roles: [], scopes: [], expiresAt: 1 }) },
      ],
    });
    expect((await fetch(url, callTool('echo'))).status).toBe(401);
  });

  it('pass on what an authenticator refuses with', async () => {
    const { url } = await startHttp({
      service: testService().service,
      authenticators: [
        {
          name: 'strict',
          authenticate: () => Promise.reject(new RpcError('rate_limited', 'Too many attempts', { headers: { 'retry-after': '9' } })),
        },
      ],
    });
    const response = await fetch(url, callTool('echo'));
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '9']);
  });
});
