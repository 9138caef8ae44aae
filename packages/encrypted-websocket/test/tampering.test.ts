import { describe, expect, it } from 'vitest';
import * as browser from '../src/browser.js';
import { CLOSE_CODES, generateNoiseKeys, type NoiseProtocolName, WebSocketClientTransport } from '../src/index.js';
import { type Meddle, manInTheMiddle } from './man-in-the-middle.js';
import { cleanup, deferred, listening, modernRequest, testHost, toolService, until } from './support.js';

const serverKeys = generateNoiseKeys();
const clientKeys = generateNoiseKeys();
const PROTOCOL: NoiseProtocolName = 'Noise_IK_25519_AESGCM_SHA256';

const call = (id: number, name: string, args: object = {}) => JSON.parse(modernRequest(id, 'tools/call', { name, arguments: args }));

/** A server, a proxy in between, and a client that talks Noise through it. */
async function attacked(meddle: { toServer?: Meddle; toClient?: Meddle } = {}, Transport = WebSocketClientTransport) {
  const tools = toolService();
  const host = testHost({ service: tools.service });
  const { url, listener } = await listening(host, { noise: { protocols: [PROTOCOL], privateKey: serverKeys.privateKey } });
  const proxy = await manInTheMiddle(url, meddle);
  const noise = { protocol: PROTOCOL, serverPublicKey: serverKeys.publicKey, privateKey: clientKeys.privateKey };
  const transport = new Transport(proxy.url, { token: 'alice-token', noise });
  cleanup(() => transport.close());
  const received: { id?: unknown }[] = [];
  const errors: Error[] = [];
  const closed = deferred();
  transport.onmessage = (message) => received.push(message as never);
  transport.onerror = (error) => errors.push(error);
  transport.onclose = () => closed.resolve();
  return { tools, host, listener, proxy, transport, received, errors, closed: closed.promise };
}

/** Meddles with the nth frame in a direction: 0 and 1 are the handshake and the greeting, the first message is 2. */
function onFrame(nth: number, act: Meddle): Meddle {
  let count = -1;
  return (frame, pass, isBinary) => {
    count += 1;
    if (count === nth) act(frame, pass, isBinary);
    else pass(frame);
  };
}

const flip =
  (at: (length: number) => number): Meddle =>
  (frame, pass) => {
    const changed = Buffer.from(frame);
    const index = at(frame.length);
    changed[index] = (changed[index] as number) ^ 1;
    pass(changed);
  };

const ATTACKS: [string, () => Meddle][] = [
  ['a bit flipped at the front', () => flip(() => 0)],
  ['a bit flipped in the middle', () => flip((length) => length >> 1)],
  ['a bit flipped at the end', () => flip((length) => length - 1)],
  ['a frame cut short', () => (frame, pass) => pass(frame.subarray(0, frame.length - 1))],
  ['a frame made longer', () => (frame, pass) => pass(Buffer.concat([frame, Buffer.alloc(1)]))],
  ['an empty frame', () => (_frame, pass) => pass(Buffer.alloc(0))],
  [
    'a frame put in before',
    () => (frame, pass) => {
      pass(Buffer.alloc(frame.length));
      pass(frame);
    },
  ],
];

describe('what a proxy sees', () => {
  it.each([
    ['Node', WebSocketClientTransport],
    ['a browser', browser.WebSocketClientTransport as never],
  ])('of a client on %s is neither its token, nor tools, arguments, results, nor the name of the connection', async (_end, Transport) => {
    const { transport, proxy, received, tools } = await attacked({}, Transport);
    await transport.start();
    await transport.send(call(1, 'echo', { secret: 'the launch code is 0000' }));
    await until(() => received.length === 1);
    expect(JSON.stringify(received)).toContain('the launch code is 0000');
    expect(tools.calls).toEqual(['echo']);
    const captured = proxy.captured();
    // The captured bytes are all there are: what is public is among them.
    expect(captured).toContain(`mcp.${PROTOCOL}`);
    expect(captured.length).toBeGreaterThan(500);
    const { sessionId } = transport.getSessionInfo() as { sessionId: string };
    for (const secret of [
      'alice',
      'authorization',
      'launch',
      'echo',
      'tools/call',
      'jsonrpc',
      'hello',
      'welcome',
      sessionId,
      'mcp.bearer',
    ]) {
      expect(captured).not.toContain(secret);
    }
    expect(captured).not.toContain(Buffer.from('alice-token').toString('base64url'));
  });

  it('is the same size for any secret of the same length, and another for another: sizes are not hidden', async () => {
    const { transport, proxy, received } = await attacked();
    await transport.start();
    const sizes: number[] = [];
    for (const [id, secret] of [
      [1, 'aaaa'],
      [2, 'bbbb'],
      [3, 'bbbbb'],
    ] as const) {
      const before = proxy.frames.length;
      await transport.send(call(id, 'echo', { secret }));
      await until(() => received.length === id);
      sizes.push((proxy.frames[before] as Buffer).length);
    }
    expect(sizes[0]).toBe(sizes[1]);
    expect(sizes[2]).toBe((sizes[1] as number) + 1);
  });
});

describe('a frame on its way to the server', () => {
  it.each(ATTACKS)('that was tampered with (%s) ends the connection, and no tool hears of it', async (_name, attack) => {
    const { transport, tools, host, listener, received, closed } = await attacked({ toServer: onFrame(2, attack()) });
    await transport.start();
    await transport.send(call(1, 'echo'));
    await closed;
    expect(transport.closeCode).toBe(CLOSE_CODES.abnormal);
    await until(() => host.audited.length === 1);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', actor: 'alice', details: { closeCode: CLOSE_CODES.noiseRefused } }]);
    expect([tools.calls, received, listener.metrics().decryptErrors, listener.metrics().activeConnections]).toEqual([[], [], 1, 0]);
  });

  it('that was replayed runs nothing twice', async () => {
    const { transport, tools, closed, listener } = await attacked({
      toServer: onFrame(2, (frame, pass) => {
        pass(frame);
        pass(frame);
      }),
    });
    await transport.start();
    await transport.send(call(1, 'echo'));
    await closed;
    expect(tools.calls.length).toBeLessThanOrEqual(1);
    expect(listener.metrics().decryptErrors).toBe(1);
  });

  it('that was held back and overtaken is not taken for the next one', async () => {
    let held: Buffer | undefined;
    let count = -1;
    const { transport, tools, closed } = await attacked({
      toServer: (frame, pass) => {
        count += 1;
        if (count === 2) {
          held = frame;
          return;
        }
        pass(frame);
        if (count === 3) pass(held as Buffer);
      },
    });
    await transport.start();
    await transport.send(call(1, 'echo'));
    await transport.send(call(2, 'blob'));
    await closed;
    expect(tools.calls).toEqual([]);
  });

  it('of the handshake is refused before any token is read', async () => {
    for (const nth of [0, 1]) {
      const { transport, host } = await attacked({
        toServer: onFrame(
          nth,
          flip((length) => length - 1),
        ),
      });
      await expect(transport.start()).rejects.toMatchObject({ code: 'forbidden', data: { reason: 'noise' } });
      await until(() => host.audited.length === 1);
      expect(host.audited).toMatchObject([{ type: 'ws.refused', actor: '-', reason: 'noise: handshake' }]);
    }
  });
});

describe('a frame on its way to the client', () => {
  it.each(ATTACKS)('that was tampered with (%s) ends the connection, and nothing is delivered', async (_name, attack) => {
    const { transport, received, errors, closed, host } = await attacked({ toClient: onFrame(2, attack()) });
    await transport.start();
    await transport.send(call(1, 'echo'));
    await closed;
    expect(received).toEqual([]);
    expect(transport).toMatchObject({ closeCode: CLOSE_CODES.noiseRefused, closeError: { code: 'unavailable' } });
    expect(errors.at(-1)).toMatchObject({ data: { closeCode: CLOSE_CODES.noiseRefused } });
    expect(transport.metrics().decryptErrors).toBe(1);
    await until(() => host.active.count === 0);
  });

  it('of the handshake is refused before the token is sent', async () => {
    const { transport, proxy } = await attacked({
      toClient: onFrame(
        0,
        flip((length) => length - 1),
      ),
    });
    await expect(transport.start()).rejects.toMatchObject({ code: 'forbidden', data: { reason: 'noise' } });
    // The client's first message and the answer: no hello, which would hold the token.
    expect(proxy.frames).toHaveLength(2);
  });
});

describe('a close that nobody sealed', () => {
  it.each([
    ['1001, after which everything unanswered would be sent again', CLOSE_CODES.goingAway],
    ['1000', CLOSE_CODES.normal],
    ['4401', CLOSE_CODES.unauthenticated],
  ])('with %s counts for a broken connection', async (_name, code) => {
    const { transport, proxy, closed } = await attacked();
    await transport.start();
    proxy.pairs[0]?.client.close(code, 'forged');
    await closed;
    expect(transport).toMatchObject({ closeCode: CLOSE_CODES.abnormal, closeReason: '', closeError: { data: { closeCode: 1006 } } });
  });

  it('on the way to the server, too', async () => {
    const { transport, proxy, host } = await attacked();
    await transport.start();
    proxy.pairs[0]?.upstream.close(CLOSE_CODES.normal);
    await until(() => host.active.count === 0);
    expect(host.audited).toEqual([]);
  });

  it('while one that is sealed is believed, whatever the frame says', async () => {
    const { transport, closed, listener, proxy } = await attacked();
    await transport.start();
    proxy.pairs[0]?.upstream.prependListener('close', () => proxy.pairs[0]?.client.terminate());
    await listener.drain(1_000);
    await closed;
    expect(transport.closeCode).toBe(CLOSE_CODES.goingAway);
  });
});
