import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import * as browser from '../src/browser.js';
import * as node from '../src/index.js';
import { manInTheMiddle } from './man-in-the-middle.js';
import { clientNoise, EVERY, nameOf, open, sealed, serverKeys, serverNoise } from './noise-support.js';
import { modernRequest, testHost, toolService, until } from './support.js';

const { CLOSE_CODES, encryptedWebSocket, noisePublicKey } = node;

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

  it('takes a message of exactly the limit; a larger one the client does not send, and goes on', async () => {
    const { url, host } = await sealed(testHost({ maxMessageBytes: 200_000 }));
    const { transport, received } = open(url, { noise: clientNoise('NK') });
    await transport.start();
    const text = modernRequest(1, 'tools/call', { name: 'echo', pad: '' });
    const padded = (bytes: number) => JSON.parse(text.replace('"pad":""', `"pad":"${'é'.repeat((bytes - text.length) / 2)}"`));
    await transport.send(padded(200_000));
    await until(() => received.length === 1);
    await expect(transport.send(padded(200_002))).rejects.toMatchObject({ code: 'payload_too_large', data: { maxBytes: 200_000 } });
    await transport.send(padded(200_000));
    await until(() => received.length === 2);
    expect(host.active.count).toBe(1);
  });

  it('is ended by a frame over the limit, whoever sent it', async () => {
    const { url, host } = await sealed(testHost({ maxMessageBytes: 200_000 }));
    const proxy = await manInTheMiddle(url);
    const { transport, closed } = open(proxy.url, { noise: clientNoise('NK') });
    await transport.start();
    proxy.pairs[0]?.upstream.send(Buffer.alloc(300_000));
    await closed;
    // What the client sees of it nobody has sealed.
    expect(transport.closeCode).toBe(CLOSE_CODES.abnormal);
    await until(() => host.audited.length === 1);
    expect(host.audited[0]).toMatchObject({ type: 'ws.closed', details: { closeCode: CLOSE_CODES.messageTooBig } });
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
