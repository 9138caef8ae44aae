import { connect } from 'node:net';
import { RpcError } from '@mcp-blocks/core';
import { ManualClock, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import * as browser from '../src/browser.js';
import * as node from '../src/index.js';
import { nodeCrypto } from '../src/noise/node-crypto.js';
import { NoiseEndpoint } from '../src/noise/noise-endpoint.js';
import { clientKeys, clientNoise, nameOf, open, openSilent, sealed, serverKeys, serverNoise, strangerKeys } from './noise-support.js';
import { cleanup, deferred, listening, modernRequest, openRaw, testHost, until, upgrade } from './support.js';

const { CLOSE_CODES } = node;

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

  it('every key when the function promises its answer instead of giving it', async () => {
    const { url } = await sealed(testHost(), { noise: serverNoise({ acceptPeer: (async () => true) as never }) });
    for (const pattern of ['XK', 'IK', 'XX'] as const) {
      await expect(open(url, { noise: clientNoise(pattern) }).transport.start()).rejects.toMatchObject({ code: 'forbidden' });
    }
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

  it.each([
    ['sends on instead of saying goodbye', (hostile: Hostile) => hostile.flood()],
    ['does not say goodbye', ({ clock }: Hostile) => clock.advance(5_000)],
  ])('that was refused is cut when the client %s', async (_name, act) => {
    const clock = new ManualClock();
    const { url, listener } = await sealed(testHost({ maxMessageBytes: 64 * 1024 * 1024 }), { clock, handshakeTimeoutMs: 60_000 });
    const hostile = await openHostile(url, clock);
    hostile.raw.write(maskedFrame(48, Buffer.alloc(48)));
    await until(() => listener.metrics().refusedHandshakes === 1);
    await act(hostile);
    await hostile.closed;
    expect(hostile.floodedBytes()).toBeLessThan(16 * 1024 * 1024);
    expect(clock.pendingTimers).toBe(0);
  });

  it('lasts longer than a key: the client changes none before the welcome', async () => {
    const clock = new ManualClock();
    const asked = deferred();
    const known = deferred();
    const authenticate = async () => {
      asked.resolve();
      await known.promise;
      return testPrincipal();
    };
    const { url } = await sealed(testHost({ authenticate }), { clock });
    const { transport, call, received } = open(url, { clock, noise: clientNoise('IK', { keyRotationIntervalMs: 1_000 }) });
    const started = transport.start();
    await asked.promise;
    await clock.advance(3_000);
    known.resolve();
    await started;
    await clock.advance(1_000);
    expect(transport.metrics()).toMatchObject({ keyRotations: 1 });
    await call(1, 'echo');
    await until(() => received.length === 1);
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

type Hostile = Awaited<ReturnType<typeof openHostile>>;

/** A connection that offers Noise over plain TCP, and answers no close frame. */
async function openHostile(url: string, clock: ManualClock) {
  const raw = connect(Number(new URL(url).port), '127.0.0.1');
  cleanup(async () => raw.destroy());
  const closed = deferred();
  let flooded = 0;
  raw.on('error', () => {});
  raw.on('close', () => closed.resolve());
  raw.write(
    `GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\nSec-WebSocket-Protocol: mcp.${nameOf('NK')}\r\n\r\n`,
  );
  await new Promise((resolve) => raw.once('data', resolve));
  raw.resume();
  /** One frame of 32 MiB, for as long as somebody takes it; its last byte never comes. */
  const flood = async () => {
    const chunk = Buffer.alloc(65_536);
    raw.write(maskedFrame(2 ** 25 + 1, chunk));
    for (flooded = chunk.length; flooded < 2 ** 25 && !raw.destroyed; flooded += chunk.length) {
      await new Promise((resolve) => raw.write(chunk, resolve));
    }
  };
  return { raw, clock, closed: closed.promise, flood, floodedBytes: () => flooded };
}

/** The beginning of a binary frame (RFC 6455, section 5.2), masked with zeros. */
function maskedFrame(length: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(14);
  head.set([0x82, 0xff]);
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}
