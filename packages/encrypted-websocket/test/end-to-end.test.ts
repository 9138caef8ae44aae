import { type Principal, RpcError } from '@mcp-blocks/core';
import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import * as browser from '../src/browser.js';
import * as node from '../src/index.js';
import { nodeCrypto } from '../src/noise/node-crypto.js';
import { NoiseEndpoint } from '../src/noise/noise-endpoint.js';
import { manInTheMiddle } from './man-in-the-middle.js';
import {
  certificates,
  cleanup,
  deferred,
  listening,
  modernRequest,
  openRaw,
  type TestHost,
  testHost,
  toolService,
  until,
  upgrade,
} from './support.js';

const { CLOSE_CODES, encryptedWebSocket, generateNoiseKeys, noisePublicKey } = node;
const serverKeys = generateNoiseKeys();
const clientKeys = generateNoiseKeys();
const strangerKeys = generateNoiseKeys();

const PATTERNS = ['NK', 'XK', 'IK', 'XX'] as const;
const CIPHERS = ['AESGCM', 'ChaChaPoly'] as const;
type Pattern = (typeof PATTERNS)[number];
type Cipher = (typeof CIPHERS)[number];

const nameOf = (pattern: Pattern, cipher: Cipher = 'AESGCM'): node.NoiseProtocolName => `Noise_${pattern}_25519_${cipher}_SHA256`;
const EVERY = PATTERNS.flatMap((pattern) => CIPHERS.map((cipher) => nameOf(pattern, cipher)));

const serverNoise = (overrides: Partial<node.NoiseListenerOptions> = {}): node.NoiseListenerOptions => ({
  protocols: EVERY,
  privateKey: serverKeys.privateKey,
  ...overrides,
});

const clientNoise = (pattern: Pattern, overrides: Partial<node.NoiseClientOptions> = {}): node.NoiseClientOptions => ({
  protocol: nameOf(pattern),
  serverPublicKey: serverKeys.publicKey,
  ...(pattern === 'NK' ? {} : { privateKey: clientKeys.privateKey }),
  ...overrides,
});

async function sealed(host: TestHost = testHost(), options: node.EncryptedWebSocketOptions = {}) {
  return { host, ...(await listening(host, { noise: serverNoise(), ...options })) };
}

function open(url: string, options: node.WebSocketClientOptions) {
  const transport = new node.WebSocketClientTransport(url, { token: 'alice-token', ...options });
  cleanup(() => transport.close());
  const closed = deferred();
  const received: { id?: unknown; result?: unknown; method?: string }[] = [];
  transport.onclose = () => closed.resolve();
  transport.onmessage = (message) => received.push(message as never);
  const call = (id: number, name: string, args: object = {}) =>
    transport.send(JSON.parse(modernRequest(id, 'tools/call', { name, arguments: args })));
  return { transport, received, closed: closed.promise, call };
}

/** An open WebSocket that offers Noise and is otherwise up to the test. */
async function openSilent(url: string, protocol = nameOf('NK')) {
  const socket = new WebSocket(url, `mcp.${protocol}`, { perMessageDeflate: false });
  cleanup(async () => socket.terminate());
  const closed = deferred<number>();
  const frames: Buffer[] = [];
  socket.on('message', (data: Buffer) => frames.push(data));
  socket.on('error', () => {});
  socket.on('close', (code) => closed.resolve(code));
  await new Promise((resolve) => socket.once('open', resolve));
  return { socket, frames, closed: closed.promise };
}

describe.each([
  ['Node', node.WebSocketClientTransport],
  ['browser', browser.WebSocketClientTransport],
] as const)('inside Noise, from the end of a %s,', (_end, Transport) => {
  describe.each(PATTERNS.flatMap((pattern) => CIPHERS.map((cipher) => [pattern, cipher] as const)))('%s with %s', (pattern, cipher) => {
    const noise = () => clientNoise(pattern, { protocol: nameOf(pattern, cipher) });

    it.each(['auto', 'legacy'] as const)('an SDK v2 client in mode %s calls tools, small and large', async (mode) => {
      const { url } = await sealed(testHost({ maxMessageBytes: 1_048_576 }));
      const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
      cleanup(() => client.close());
      await client.connect(new Transport(url, { token: 'alice-token', noise: noise() }));
      expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: { text: 'häß€😀' } }))).toContain('häß€😀');
      const pad = 'p'.repeat(300_000);
      const large = await client.callTool({ name: 'blob', arguments: { value: 200_000, pad } });
      expect(large.content).toEqual([{ type: 'text', text: 'x'.repeat(200_000) }]);
      const seen: number[] = [];
      await client.callTool({ name: 'progress' }, { onprogress: ({ progress }) => seen.push(progress) });
      expect(seen).toEqual([1, 2]);
    });

    it('an SDK v1 client calls tools', async () => {
      const { url } = await sealed();
      const client = new V1Client({ name: 'test', version: '1' });
      cleanup(() => client.close());
      await client.connect(new Transport(url, { token: 'bob-token', noise: noise() }) as never);
      expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: {} }))).toContain('bob websocket 2025-11-25');
    });
  });
});

describe('both ends know the same of a connection', () => {
  it.each(PATTERNS)('%s', async (pattern) => {
    const { url, listener } = await sealed(testHost(), { newSessionId: () => 'connection-7' });
    const { transport } = open(url, { noise: clientNoise(pattern) });
    await transport.start();
    const ofClient = transport.getSessionInfo();
    const ofServer = listener.getSessionInfo('connection-7');
    expect(ofClient).toEqual({
      sessionId: 'connection-7',
      secure: false,
      protocol: `mcp.${nameOf(pattern)}`,
      algorithm: nameOf(pattern),
      keyId: expect.stringMatching(/^[\da-f]{16}-0-0$/),
      peerKey: serverKeys.publicKey,
      forwardSecrecy: true,
    });
    expect(ofServer).toEqual({ ...ofClient, peerKey: pattern === 'NK' ? undefined : clientKeys.publicKey });
    expect(listener.getSessionInfo('another')).toBeUndefined();
    await transport.close();
    await until(() => listener.getSessionInfo('connection-7') === undefined);
  });

  it('inside TLS too', async () => {
    const { url, listener } = await sealed(testHost(), { tls: certificates.server, newSessionId: () => 's' });
    const { transport } = open(url, { noise: clientNoise('IK'), tls: { ca: certificates.ca } });
    await transport.start();
    expect([transport.getSessionInfo()?.secure, listener.getSessionInfo('s')?.secure]).toEqual([true, true]);
  });
});

describe('who the client is', () => {
  /** Takes the key alone for an identity, where there is no token. */
  function keyHost() {
    const principals: Principal[] = [];
    const tools = toolService();
    const host = testHost({
      service: {
        ...tools.service,
        handler: (request, context) => {
          principals.push(context.principal);
          return tools.service.handler(request, context);
        },
      },
      authenticate: async ({ clientKey, header, clientCertificate }) => {
        if (header('authorization') !== undefined) return testPrincipal({ id: `token ${header('x-tenant') ?? 'of nobody'}` });
        if (clientKey === clientKeys.publicKey && clientCertificate === undefined) return testPrincipal({ id: 'key' });
        throw new RpcError('unauthenticated', 'Who are you?');
      },
    });
    return { host, principals };
  }

  it.each(['XK', 'IK', 'XX'] as const)('is its key with %s, which is in the principal', async (pattern) => {
    const { host, principals } = keyHost();
    const { url } = await sealed(host);
    const transport = new node.WebSocketClientTransport(url, { noise: clientNoise(pattern) });
    cleanup(() => transport.close());
    await transport.start();
    await transport.send(JSON.parse(modernRequest(1, 'tools/call', { name: 'echo' })));
    await until(() => principals.length === 1);
    expect(principals).toMatchObject([{ id: 'key', clientKey: clientKeys.publicKey }]);
  });

  it('is its token where there is one, and the key is recorded', async () => {
    const { host, principals } = keyHost();
    const { url } = await sealed(host);
    const { call, transport } = open(url, { noise: clientNoise('IK'), headers: { 'X-Tenant': 'acme' } });
    await transport.start();
    await call(1, 'echo');
    await until(() => principals.length === 1);
    expect(principals).toMatchObject([{ id: 'token acme', clientKey: clientKeys.publicKey }]);
  });

  it('is nobody with NK and no token', async () => {
    const { host } = keyHost();
    const { url } = await sealed(host);
    const transport = new node.WebSocketClientTransport(url, { noise: clientNoise('NK') });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unauthenticated', data: { closeCode: 4401 } });
  });

  it('is not told by the certificate of TLS, which may be the one of a proxy', async () => {
    const { host } = keyHost();
    const tls = { ...certificates.server, clientCertificates: { ca: certificates.ca } };
    const { url } = await sealed(host, { tls });
    const transport = new node.WebSocketClientTransport(url, {
      noise: clientNoise('IK'),
      tls: { ca: certificates.ca, ...certificates.client },
    });
    cleanup(() => transport.close());
    await transport.start();
    expect(host.active.count).toBe(1);
  });
});

describe('a server that is not the expected one is told nothing', () => {
  it.each([
    ['NK', clientNoise('NK', { serverPublicKey: strangerKeys.publicKey })],
    ['XK', clientNoise('XK', { serverPublicKey: strangerKeys.publicKey })],
    ['IK', clientNoise('IK', { serverPublicKey: strangerKeys.publicKey })],
    ['XX with a pin', clientNoise('XX', { serverPublicKey: strangerKeys.publicKey })],
    [
      'XX with a function',
      { protocol: nameOf('XX'), privateKey: clientKeys.privateKey, acceptPeer: (key: string) => key === strangerKeys.publicKey },
    ],
  ])('%s', async (_name, noise) => {
    const asked: string[] = [];
    const host = testHost({
      authenticate: async ({ header }) => {
        asked.push(header('authorization') ?? 'nothing');
        return testPrincipal();
      },
    });
    const { url } = await sealed(host);
    for (const Transport of [node.WebSocketClientTransport, browser.WebSocketClientTransport]) {
      const transport = new Transport(url, { token: 'alice-token', noise });
      await expect(transport.start()).rejects.toMatchObject({ name: 'RpcError', code: 'forbidden', data: { reason: 'noise' } });
      expect(transport.getSessionInfo()).toBeUndefined();
    }
    expect(asked).toEqual([]);
    expect(host.active.count).toBe(0);
  });

  it('and one that the function accepts is connected to', async () => {
    const { url } = await sealed();
    const acceptPeer = (key: string) => key === serverKeys.publicKey;
    const { transport } = open(url, { noise: { protocol: nameOf('XX'), privateKey: clientKeys.privateKey, acceptPeer } });
    await transport.start();
  });
});

describe('the server refuses', () => {
  it.each([
    ['a credential it does not know', async () => Promise.reject(new RpcError('unauthenticated', 'No')), 'unauthenticated', 4401],
    ['one that is not enough', async () => Promise.reject(new RpcError('insufficient_scope', 'No')), 'forbidden', 4403],
    ['while it cannot tell', async () => Promise.reject(new Error('database down')), 'unavailable', 1013],
    ['one that has expired', async () => testPrincipal({ expiresAt: 1 }), 'unauthenticated', 4401],
  ] as const)('%s, by a sealed code', async (_name, authenticate, code, closeCode) => {
    const { url, host, listener } = await sealed(testHost({ authenticate: authenticate as never }));
    const { transport } = open(url, { noise: clientNoise('IK') });
    await expect(transport.start()).rejects.toMatchObject({ name: 'RpcError', code, data: { closeCode } });
    await until(() => listener.metrics().refusedHandshakes === 1);
    expect([host.active.count, listener.metrics().totalConnections]).toEqual([0, 0]);
  });

  it('a key that it is told not to accept', async () => {
    const noise = serverNoise({ acceptPeer: (key) => key === strangerKeys.publicKey });
    const { url } = await sealed(testHost(), { noise });
    for (const pattern of ['XK', 'IK', 'XX'] as const) {
      await expect(open(url, { noise: clientNoise(pattern) }).transport.start()).rejects.toMatchObject({ code: 'forbidden' });
    }
    await open(url, { noise: clientNoise('IK', { privateKey: strangerKeys.privateKey }) }).transport.start();
    await open(url, { noise: clientNoise('NK') }).transport.start();
  });

  it.each([
    ['plain mcp', 'mcp', {}],
    ['a Noise protocol it does not speak', `mcp.${nameOf('XX')}`, {}],
    ['several, of which it could choose', `mcp.${nameOf('NK')}, mcp.${nameOf('IK')}`, {}],
    ['plain mcp beside Noise', `mcp, mcp.${nameOf('NK')}`, {}],
    ['a token outside the channel', `mcp.${nameOf('NK')}`, { authorization: 'Bearer alice-token' }],
    ['an API key outside the channel', `mcp.${nameOf('NK')}`, { 'x-api-key': 'alice-token' }],
    ['a token as subprotocol', `mcp.${nameOf('NK')}, mcp.bearer.${Buffer.from('alice-token').toString('base64url')}`, {}],
  ])('%s with HTTP 400', async (_name, protocols, headers) => {
    const { url } = await sealed(testHost(), { noise: serverNoise({ protocols: [nameOf('NK'), nameOf('IK')] }) });
    const answer = await upgrade(url, { 'sec-websocket-protocol': protocols, ...headers });
    expect(answer.status).toBe(400);
    const accepted = await upgrade(url, { 'sec-websocket-protocol': `mcp.${nameOf('NK')}` });
    expect([accepted.status, accepted.headers['sec-websocket-protocol']]).toEqual([101, `mcp.${nameOf('NK')}`]);
    expect(accepted.headers['mcp-connection-id']).toBeUndefined();
  });

  it('Noise where it has none', async () => {
    const { url } = await listening();
    await expect(open(url, { noise: clientNoise('NK') }).transport.start()).rejects.toMatchObject({
      code: 'unavailable',
      data: { httpStatus: 400 },
    });
  });

  it('and serves plain clients too where Noise is not required', async () => {
    const { url } = await sealed(testHost(), { noise: serverNoise({ required: false }), deflate: true });
    const plain = await openRaw(url);
    plain.socket.send(modernRequest(1, 'tools/list'));
    expect(await plain.next()).toMatchObject({ id: 1 });
    await open(url, { noise: clientNoise('NK') }).transport.start();
    // What is sealed is not compressed, whoever offers to.
    const offered = { 'sec-websocket-extensions': 'permessage-deflate' };
    const answer = await upgrade(url, { ...offered, 'sec-websocket-protocol': `mcp.${nameOf('NK')}` });
    expect([answer.status, answer.headers['sec-websocket-extensions']]).toEqual([101, undefined]);
  });
});

describe('a handshake that leads nowhere', () => {
  it('because the client says nothing ends with 4408 after handshakeTimeoutMs', async () => {
    const clock = new ManualClock();
    const { url, host, listener } = await sealed(testHost(), { clock, handshakeTimeoutMs: 3_000 });
    const silent = await openSilent(url);
    await clock.advance(2_999);
    expect(silent.socket.readyState).toBe(WebSocket.OPEN);
    await clock.advance(1);
    expect(await silent.closed).toBe(CLOSE_CODES.heartbeatTimeout);
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: 'timeout' }]);
    expect(listener.metrics()).toMatchObject({ activeConnections: 0, totalConnections: 0, refusedHandshakes: 1 });
    expect(clock.pendingTimers).toBe(0);
  });

  it('because the client shakes hands and says no hello ends with 4408, sealed', async () => {
    const clock = new ManualClock();
    const { url, host } = await sealed(testHost(), { clock, handshakeTimeoutMs: 3_000 });
    const { socket, frames, closed } = await openSilent(url);
    const environment = { crypto: nodeCrypto, clock, maxMessageBytes: 1_000 };
    const handshake = new NoiseEndpoint('client', clientNoise('NK', { keyRotationIntervalMs: 0 }), environment).handshake(() => {});
    socket.send(handshake.start());
    await until(() => frames.length === 1);
    const { channel } = handshake.receive(frames[0] as Buffer);
    await clock.advance(3_000);
    expect(await closed).toBe(CLOSE_CODES.normal);
    expect(channel?.open(frames[1] as Buffer)).toEqual({ kind: 'close', code: CLOSE_CODES.heartbeatTimeout, reason: '' });
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: 'timeout' }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['a text frame', 'hello', CLOSE_CODES.unsupportedData],
    ['noise that is none', Buffer.alloc(48), CLOSE_CODES.noiseRefused],
    ['a first message of another length', Buffer.alloc(47), CLOSE_CODES.noiseRefused],
  ])('ends at once on %s', async (_name, frame, code) => {
    const { url, host } = await sealed();
    const { socket, closed } = await openSilent(url);
    socket.send(frame);
    expect(await closed).toBe(code);
    expect(host.audited).toMatchObject([{ type: 'ws.refused', reason: expect.stringMatching(/^noise: /) }]);
  });

  it('does not get to fill memory before anybody knows who it is', async () => {
    const { url, host } = await sealed(testHost({ maxMessageBytes: 16 * 1024 * 1024 }));
    const { socket, closed } = await openSilent(url);
    // Never finished, so ws never hands it over.
    const raw = (socket as unknown as { _socket: { write(data: Buffer): void } })._socket;
    raw.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    raw.write(Buffer.alloc(40_000));
    expect(await closed).toBe(CLOSE_CODES.messageTooBig);
    expect(host.audited).toMatchObject([{ reason: 'noise: a long greeting' }]);
  });

  it('is given up on by the client when the server says no welcome', async () => {
    const clock = new ManualClock();
    const asked = deferred();
    const host = testHost({
      authenticate: () => {
        asked.resolve();
        return new Promise(() => {});
      },
    });
    const { url } = await sealed(host);
    const { transport } = open(url, { noise: clientNoise('NK'), clock, handshakeTimeoutMs: 2_000 });
    const started = expect(transport.start()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('too long') });
    await asked.promise;
    await clock.advance(2_000);
    await started;
    expect(clock.pendingTimers).toBe(0);
  });

  it('makes room for others once there are maxHandshakes, the oldest first', async () => {
    const { url, listener } = await sealed(testHost(), { maxHandshakes: 3 });
    const silent = [];
    for (let n = 0; n < 5; n += 1) silent.push(await openSilent(url));
    expect(await Promise.all([silent[0]?.closed, silent[1]?.closed])).toEqual([1006, 1006]);
    expect(silent.slice(2).map(({ socket }) => socket.readyState)).toEqual([1, 1, 1]);
    expect(listener.metrics().refusedHandshakes).toBe(2);
    await open(url, { noise: clientNoise('NK') }).transport.start();
  });

  it('is cut when the listener closes', async () => {
    const clock = new ManualClock();
    const { url, listener } = await sealed(testHost(), { clock });
    const { closed } = await openSilent(url);
    await listener.close();
    expect(await closed).toBe(1006);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('an open channel', () => {
  it('changes its keys by the number of messages, in both directions, under load, and loses nothing', async () => {
    const { url, listener } = await sealed(testHost(), { noise: serverNoise({ rekeyAfterMessages: 5 }), newSessionId: () => 's' });
    const { transport, received, call } = open(url, { noise: clientNoise('NK', { rekeyAfterMessages: 3 }) });
    await transport.start();
    await Promise.all(Array.from({ length: 300 }, (_, n) => call(n, 'echo', { n })));
    await until(() => received.length === 300);
    expect(received.map(({ id }) => id).sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 300 }, (_, n) => n));
    expect(transport.getSessionInfo()?.keyId).toMatch(/-100-60$/);
    expect(listener.getSessionInfo('s')?.keyId).toBe(transport.getSessionInfo()?.keyId);
    expect(transport.metrics()).toMatchObject({ messagesOut: 300, messagesIn: 300, keyRotations: 160, decryptErrors: 0, encryptErrors: 0 });
    expect(listener.metrics()).toMatchObject({ messagesOut: 300, messagesIn: 300, keyRotations: 160, decryptErrors: 0 });
    await transport.close();
    await until(() => listener.metrics().activeConnections === 0);
    expect(listener.metrics().keyRotations).toBe(160);
    expect(listener.metrics().encryptMs).toBeGreaterThan(0);
  });

  it('changes its keys by time', async () => {
    const clock = new ManualClock();
    const { url, listener } = await sealed(testHost(), { clock, noise: serverNoise({ keyRotationIntervalMs: 9_000 }) });
    const { transport, received, call } = open(url, { clock, noise: clientNoise('IK', { keyRotationIntervalMs: 4_000 }) });
    await transport.start();
    for (let round = 1; round <= 3; round += 1) {
      await call(round, 'echo');
      await until(() => received.length === round);
      await clock.advance(10_000);
      await until(() => listener.metrics().keyRotations === transport.metrics().keyRotations);
    }
    expect(transport.metrics().keyRotations).toBeGreaterThanOrEqual(5);
    expect(listener.metrics().keyRotations).toBe(transport.metrics().keyRotations);
    await transport.close();
    await until(() => clock.pendingTimers === 0);
  });

  it.each([
    ['text', 'plain', CLOSE_CODES.unsupportedData],
    ['what nobody sealed', Buffer.alloc(100), CLOSE_CODES.noiseRefused],
  ])('is ended by %s', async (_name, frame, code) => {
    const { url, host } = await sealed();
    const proxy = await manInTheMiddle(url);
    const { transport, closed } = open(proxy.url, { noise: clientNoise('NK') });
    await transport.start();
    proxy.pairs[0]?.upstream.send(frame);
    await closed;
    await until(() => host.audited.length === 1);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', actor: 'alice', details: { closeCode: code } }]);
    expect(host.active.count).toBe(0);
  });

  it('ends with 4401 when the credential expires', async () => {
    const clock = new ManualClock();
    const authenticate = async () => testPrincipal({ expiresAt: clock.now() + 10_000 });
    const { url } = await sealed(testHost({ authenticate }), { clock });
    const { transport, closed } = open(url, { noise: clientNoise('IK') });
    await transport.start();
    await clock.advance(10_000);
    await closed;
    expect(transport).toMatchObject({ closeCode: 4401, closeReason: 'token expired', closeError: { code: 'unauthenticated' } });
  });

  it('is drained like any other: what runs is answered, then 1001', async () => {
    const tools = toolService();
    const { url, listener } = await sealed(testHost({ service: tools.service }));
    const { transport, closed, received, call } = open(url, { noise: clientNoise('NK') });
    await transport.start();
    await call(1, 'hold');
    await tools.started;
    const drained = listener.drain(60_000);
    await settle();
    await call(2, 'echo');
    await until(() => received.length === 1);
    tools.release();
    await closed;
    await drained;
    expect(received).toMatchObject([
      { id: 2, error: { code: 503 } },
      { id: 1, result: {} },
    ]);
    expect(transport.closeCode).toBe(CLOSE_CODES.goingAway);
  });

  it('stops reading from who does not read, and closes with 4413', async () => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service });
    const { url, listener } = await sealed(host, { clock, maxBufferedBytes: 1_024 });
    const proxy = await manInTheMiddle(url);
    const { transport, closed, call } = open(proxy.url, { noise: clientNoise('NK'), maxMessageBytes: 32 * 1024 * 1024 });
    await transport.start();
    const { upstream } = proxy.pairs[0] as { upstream: WebSocket };
    upstream.pause();
    await call(1, 'blob', { value: 16 * 1024 * 1024 });
    await until(() => listener.metrics().messagesOut === 1);
    await call(2, 'echo');
    for (let turn = 0; turn < 50; turn += 1) await settle();
    expect(tools.calls).toEqual(['blob']);
    await clock.advance(30_000);
    upstream.resume();
    await closed;
    expect(transport.closeCode).toBe(CLOSE_CODES.slowReader);
    expect(host.audited).toMatchObject([{ reason: 'slow reader' }]);
  });

  it('takes a message of exactly the limit, and no more', async () => {
    const { url, host } = await sealed(testHost({ maxMessageBytes: 200_000 }));
    const { transport, received, closed } = open(url, { noise: clientNoise('NK') });
    await transport.start();
    const text = modernRequest(1, 'tools/call', { name: 'echo', pad: '' });
    const padded = (bytes: number) => JSON.parse(text.replace('"pad":""', `"pad":"${'x'.repeat(bytes - text.length)}"`));
    await transport.send(padded(200_000));
    await until(() => received.length === 1);
    await transport.send(padded(200_001));
    await closed;
    await until(() => host.audited.length === 1);
    expect(host.audited[0]).toMatchObject({ type: 'ws.closed' });
  });
});

describe('options', () => {
  const key = serverKeys.privateKey;
  it.each([
    ['noise.protocols', { protocols: [], privateKey: key }],
    ['noise.protocols', { privateKey: key }],
    ['noise.protocol', { protocols: ['Noise_NN_25519_AESGCM_SHA256'], privateKey: key }],
    ['noise.privateKey', { protocols: EVERY, privateKey: 'c2VjcmV0' }],
    ['noise.rekeyAfterMessages', { protocols: EVERY, privateKey: key, rekeyAfterMessages: 0 }],
    ['noise.keyRotationIntervalMs', { protocols: EVERY, privateKey: key, keyRotationIntervalMs: -1 }],
    ['noise.acceptPeer', { protocols: [nameOf('NK')], privateKey: key, acceptPeer: () => true }],
  ])('of the server: %s', (option, noise) => {
    expect(() => encryptedWebSocket({ noise } as never)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option, message: expect.not.stringContaining('c2VjcmV0') }),
    );
  });

  it.each([
    ['noise.protocol', { noise: { ...clientNoise('NK'), protocol: 'Noise_NK_25519_AESGCM_BLAKE2s' } }],
    ['noise.serverPublicKey', { noise: { protocol: nameOf('NK') } }],
    ['noise.privateKey', { noise: { ...clientNoise('IK'), privateKey: undefined } }],
    ['noise.privateKey', { noise: { ...clientNoise('NK'), privateKey: key } }],
    ['deflate', { noise: clientNoise('NK'), deflate: true }],
  ])('of the client: %s', (option, options) => {
    expect(() => new node.WebSocketClientTransport('ws://localhost/ws', options as never)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
  });

  it('the public key of a private one', () => {
    expect(noisePublicKey(serverKeys.privateKey)).toBe(serverKeys.publicKey);
    expect(browser.noisePublicKey(serverKeys.privateKey)).toBe(serverKeys.publicKey);
    expect(() => noisePublicKey('x')).toThrow(expect.objectContaining({ option: 'privateKey' }));
    const made = browser.generateNoiseKeys();
    expect(noisePublicKey(made.privateKey)).toBe(made.publicKey);
  });
});
