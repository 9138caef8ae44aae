import { connect as connectTcp } from 'node:net';
import { RpcError } from '@mcp-blocks/core';
import { ManualClock, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { CLOSE_CODES, encryptedWebSocket, WebSocketClientTransport } from '../src/index.js';
import { certificates, cleanup, connectV2, deferred, listening, openRaw, testHost, until, upgrade } from './support.js';

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const bearer = { authorization: 'Bearer alice-token' };

describe('credentials in the handshake', () => {
  it.each([
    ['a bearer token', bearer],
    ['an API key', { 'x-api-key': 'alice-token' }],
    ["a browser's token as subprotocol", { 'sec-websocket-protocol': `mcp, mcp.bearer.${base64url('alice-token')}` }],
    ['the token before the protocol', { 'sec-websocket-protocol': `mcp.bearer.${base64url('alice-token')}, mcp` }],
  ])('accepts %s, and answers with the subprotocol mcp alone', async (_name, headers) => {
    const { url } = await listening();
    const answer = await upgrade(url, headers);
    expect(answer.status).toBe(101);
    expect(answer.headers['sec-websocket-protocol']).toBe('mcp');
    expect(JSON.stringify(answer.headers)).not.toContain(base64url('alice-token'));
  });

  it.each([
    ['none', {}, 401],
    ['an unknown token', { authorization: 'Bearer stranger-token' }, 401],
    ['an unknown token as subprotocol', { 'sec-websocket-protocol': `mcp, mcp.bearer.${base64url('stranger-token')}` }, 401],
    ['a token that is not base64url', { 'sec-websocket-protocol': 'mcp, mcp.bearer.a' }, 401],
    ['a token with a line break', { 'sec-websocket-protocol': `mcp, mcp.bearer.${base64url('alice-token\r\nx: y')}` }, 401],
    ['two tokens as subprotocols', { 'sec-websocket-protocol': `mcp, mcp.bearer.${base64url('a')}, mcp.bearer.${base64url('b')}` }, 401],
    ['two credentials', { ...bearer, 'sec-websocket-protocol': `mcp, mcp.bearer.${base64url('alice-token')}` }, 400],
    ['a good token and no subprotocol', { ...bearer, 'sec-websocket-protocol': undefined }, 400],
    ['a good token and a foreign subprotocol', { ...bearer, 'sec-websocket-protocol': 'graphql-ws' }, 400],
  ])('refuses %s before the upgrade', async (_name, headers, status) => {
    const host = testHost();
    const { url, listener } = await listening(host);
    const answer = await upgrade(url, headers);
    expect(answer.status).toBe(status);
    expect(answer.headers['www-authenticate'] !== undefined).toBe(status === 401);
    expect(JSON.parse(answer.body)).toMatchObject({ jsonrpc: '2.0', id: null, error: { message: expect.any(String) } });
    expect(answer.body + JSON.stringify(host.audited)).not.toMatch(/alice-token|stranger-token/);
    expect(listener.metrics()).toMatchObject({ activeConnections: 0, refusedHandshakes: 1 });
    expect(host.active.count).toBe(0);
  });

  it('passes on the challenge of the authenticator, on one line', async () => {
    const challenge = { 'www-authenticate': 'Bearer scope="read"\r\nset-cookie: a=b' };
    const { url } = await listening(
      testHost({ authenticate: () => Promise.reject(new RpcError('insufficient_scope', 'Scope read is needed', { headers: challenge })) }),
    );
    const answer = await upgrade(url, bearer);
    expect(answer.status).toBe(403);
    expect(answer.headers['www-authenticate']).toContain('scope="read"');
    expect(answer.headers['set-cookie']).toBeUndefined();
  });

  it.each(['access_token', 'token', 'api_key', 'TOKEN', 'jwt'])('refuses the query parameter %s, even with a good header', async (name) => {
    const host = testHost();
    const { url } = await listening(host);
    const answer = await upgrade(url, bearer, `/ws?${name}=alice-token`);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('not accepted in the URL');
    expect(host.audited).toMatchObject([
      { type: 'ws.refused', outcome: 'denied', reason: 'credential in the URL', transport: 'websocket' },
    ]);
    expect(answer.body + JSON.stringify(host.audited)).not.toContain('alice-token');
  });

  it('passes other query parameters', async () => {
    const { url } = await listening();
    expect((await upgrade(url, bearer, '/ws?client=a')).status).toBe(101);
  });

  it('refuses a credential that has expired by the listener clock', async () => {
    const clock = new ManualClock();
    const host = testHost({ authenticate: async () => testPrincipal({ expiresAt: clock.now() }) });
    const { url } = await listening(host, { clock });
    expect((await upgrade(url)).status).toBe(401);
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: 'credential expired' }]);
  });

  it('answers 500 without details when the authenticator fails', async () => {
    const host = testHost({ authenticate: () => Promise.reject(new Error('database password wrong')) });
    const { url } = await listening(host);
    const answer = await upgrade(url, bearer);
    expect(answer.status).toBe(500);
    expect(answer.body).not.toContain('database');
    expect(host.errors.map(({ message }) => message)).toEqual(['database password wrong']);
  });
});

describe('the port', () => {
  it.each([
    ['a foreign Host', { host: 'evil.example' }, 403],
    ['a foreign Origin', { origin: 'https://evil.example' }, 403],
    ['an opaque Origin', { origin: 'null' }, 403],
    ['a local Origin', { origin: 'http://localhost:5173' }, 101],
    ['no Origin', {}, 101],
  ])('answers %s as configured', async (_name, headers, status) => {
    const host = testHost();
    const { url } = await listening(host);
    expect((await upgrade(url, { ...bearer, ...headers })).status).toBe(status);
    expect(host.audited.map(({ type }) => type)).toEqual(status === 403 ? ['ws.refused'] : []);
  });

  it('accepts the hosts and origins it is told', async () => {
    const { url } = await listening(testHost(), { allowedHosts: ['mcp.example'], allowedOrigins: ['app.example'] });
    expect((await upgrade(url, { ...bearer, host: 'mcp.example', origin: 'https://app.example' })).status).toBe(101);
    expect((await upgrade(url, bearer)).status).toBe(403);
  });

  it.each([
    ['another path', '/other', {}, 404],
    ['a path below', '/ws/x', {}, 404],
    ['another authority', '//evil/ws', {}, 404],
    ['a bad key', '/ws', { 'sec-websocket-key': 'short' }, 400],
    ['an old version', '/ws', { 'sec-websocket-version': '7' }, 400],
    ['another protocol', '/ws', { upgrade: 'h2c' }, 400],
    ['a plain request', '/ws', { connection: 'close', upgrade: undefined }, 426],
  ])('refuses %s', async (_name, path, headers, status) => {
    const { url } = await listening();
    expect((await upgrade(url, { ...bearer, ...headers }, path)).status).toBe(status);
  });

  it('refuses connections beyond maxConnections, and takes them again when there is room', async () => {
    const host = testHost();
    const { url } = await listening(host, { maxConnections: 1 });
    const first = await openRaw(url);
    expect((await upgrade(url, bearer)).status).toBe(503);
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: 'maxConnections' }]);
    first.socket.close();
    await until(() => host.active.count === 0);
    expect((await upgrade(url, bearer)).status).toBe(101);
  });

  it.each([
    ['is not ready', { ready: () => false }],
    ['has no capacity left', { hasCapacity: () => false }],
  ])('refuses connections while the server %s', async (_name, overrides) => {
    const { url } = await listening(testHost(overrides));
    expect((await upgrade(url, bearer)).status).toBe(503);
  });

  it('goes by the clock of the server', async () => {
    const clock = new ManualClock();
    const { url, listener } = await listening(testHost({ clock }));
    await openRaw(url);
    await until(() => listener.metrics().activeConnections === 1);
    expect(clock.pendingTimers).toBeGreaterThan(0);
  });

  it('gives up a handshake that takes too long', async () => {
    const clock = new ManualClock();
    const asked = deferred();
    const host = testHost({ authenticate: () => neverAnswer(asked.resolve) });
    const { url } = await listening(host, { clock, handshakeTimeoutMs: 5_000 });
    const answer = upgrade(url, bearer);
    await asked.promise;
    await clock.advance(5_000);
    expect((await answer).status).toBe(408);
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: 'timeout' }]);
    await until(() => clock.pendingTimers === 0);
  });

  it('keeps nothing of a client that leaves during its authentication', async () => {
    const clock = new ManualClock();
    const asked = deferred();
    const answer = deferred<ReturnType<typeof testPrincipal>>();
    const host = testHost({
      authenticate() {
        asked.resolve();
        return answer.promise;
      },
    });
    const { url, listener } = await listening(host, { clock });
    const transport = new WebSocketClientTransport(url, { token: 'alice-token' });
    const started = expect(transport.start()).rejects.toMatchObject({ code: 'unavailable' });
    await asked.promise;
    await transport.close();
    await started;
    answer.resolve(testPrincipal());
    await until(() => clock.pendingTimers === 0);
    expect(listener.metrics().activeConnections).toBe(0);
    expect(host.active.count).toBe(0);
  });

  it('keeps nothing of a handshake under way when it closes', async () => {
    const clock = new ManualClock();
    const asked = deferred();
    const { url, listener } = await listening(testHost({ authenticate: () => neverAnswer(asked.resolve) }), { clock });
    const answer = expect(upgrade(url, bearer)).rejects.toThrow();
    await asked.promise;
    await listener.close();
    await answer;
    expect(clock.pendingTimers).toBe(0);
  });

  it('wants a client certificate where it has an authority for them', async () => {
    const { url } = await listening(testHost(), {
      tls: { ...certificates.server, clientCertificates: { ca: certificates.ca }, minVersion: 'TLSv1.3' },
    });
    const { client } = await connectV2(url, 'auto', { tls: { ca: certificates.ca, ...certificates.client } });
    expect((await client.listTools()).tools).toHaveLength(1);
    const without = new WebSocketClientTransport(url, { token: 'alice-token', tls: { ca: certificates.ca } });
    await expect(without.start()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each(['ws', 'wss'])('of %s that are silent make room for others once there are maxHandshakes, the oldest first', async (scheme) => {
    const tls = scheme === 'wss' ? { tls: certificates.server } : {};
    const { url } = await listening(testHost(), { maxHandshakes: 2, ...tls });
    const ended: number[] = [];
    const connectSilent = (n: number) =>
      new Promise<void>((resolve) => {
        const socket = connectTcp(Number(new URL(url).port), '127.0.0.1', resolve);
        socket.on('error', () => {});
        socket.on('close', () => ended.push(n));
        cleanup(async () => socket.destroy());
      });
    for (const n of [1, 2, 3]) await connectSilent(n);
    await until(() => ended.length === 1);
    const { client } = await connectV2(url, 'auto', { tls: { ca: certificates.ca } });
    await until(() => ended.length === 2);
    expect(ended).toEqual([1, 2]);
    await connectSilent(4);
    expect((await client.listTools()).tools).toHaveLength(1);
    expect(ended).toEqual([1, 2]);
  });

  it('survives bytes that are not HTTP', async () => {
    const { url } = await listening();
    const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
    cleanup(async () => socket.destroy());
    const answer = deferred<string>();
    socket.on('data', (data) => answer.resolve(String(data)));
    socket.write('\x16\x03\x01 hello\r\n\r\n');
    expect(await answer.promise).toContain('400 Bad Request');
    expect((await upgrade(url, bearer)).status).toBe(101);
  });
});

describe('options of the listener', () => {
  const { key, cert } = certificates.server;
  it.each([
    ['port', { port: 70_000 }],
    ['path', { path: 'ws' }],
    ['path', { path: '/ws?x' }],
    ['tls', { host: '0.0.0.0', allowedHosts: ['a.example'] }],
    ['allowedHosts', { host: '0.0.0.0', tls: { key, cert } }],
    ['heartbeatIntervalMs', { heartbeatIntervalMs: 0 }],
    ['heartbeatTimeoutMs', { heartbeatTimeoutMs: 2 ** 31 }],
    ['handshakeTimeoutMs', { handshakeTimeoutMs: 0.5 }],
    ['maxConnections', { maxConnections: 0 }],
    ['maxBufferedBytes', { maxBufferedBytes: -1 }],
    ['slowReaderTimeoutMs', { slowReaderTimeoutMs: Number.NaN }],
  ])('names %s when it is wrong', (option, options) => {
    expect(() => encryptedWebSocket(options)).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
  });

  it('allows plain ws on a public address when that is said', () => {
    expect(() => encryptedWebSocket({ host: '0.0.0.0', allowedHosts: ['a.example'], allowInsecure: true })).not.toThrow();
  });

  it('has close codes that are all different', () => {
    const codes = Object.values(CLOSE_CODES);
    expect(new Set(codes).size).toBe(codes.length);
  });
});

function neverAnswer(asked: () => void): Promise<never> {
  asked();
  return new Promise(() => {});
}
