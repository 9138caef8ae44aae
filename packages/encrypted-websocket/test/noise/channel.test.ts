import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CipherState, frameBytesOf, MAX_CONTENT_BYTES, NoiseChannel, NoiseError, type NoiseEvent } from '../../src/noise/index.js';
import { nodeCrypto } from '../../src/noise/node-crypto.js';
import { BACKENDS, connect, endpoints, shakeHands, text } from './support.js';

const EMPTY = new Uint8Array(0);
const CUT_SHORT = new NoiseError('the frame was refused, and the Noise channel is over');

/** A receiving server's channel, and the state of a client that can seal any plaintext. */
function liar(maxMessageBytes = 200_000): {
  channel: NoiseChannel;
  record: (...plaintext: (number | Uint8Array)[]) => Uint8Array;
  state: CipherState;
} {
  const [to, from] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const state = new CipherState(nodeCrypto, 'AESGCM', to);
  const channel = new NoiseChannel({
    role: 'server',
    protocol: 'Noise_NK_25519_AESGCM_SHA256',
    crypto: nodeCrypto,
    clock: new ManualClock(),
    send: new CipherState(nodeCrypto, 'AESGCM', from),
    receive: new CipherState(nodeCrypto, 'AESGCM', to),
    handshakeHash: new Uint8Array(32),
    maxMessageBytes,
    rekeyAfterMessages: 1000,
    keyRotationIntervalMs: 0,
    onRekey: () => {},
  });
  const record = (...plaintext: (number | Uint8Array)[]) => {
    const bytes = Buffer.concat([...plaintext.map((part) => (typeof part === 'number' ? Buffer.of(part) : part)), Buffer.alloc(16)]);
    state.encrypt(EMPTY, bytes, 0, bytes.length - 16);
    return bytes;
  };
  return { channel, record, state };
}

/** What is made after something was done. */
const then = (_done: unknown, make: () => Uint8Array) => make();

const HELLO = 4;
const FULL = new Uint8Array(MAX_CONTENT_BYTES);

describe('records that a peer with the keys must not send', () => {
  it.each<[string, (peer: ReturnType<typeof liar>) => Uint8Array]>([
    ['no type', ({ record }) => record()],
    ['more to follow, and nothing follows', ({ record }) => record(0, 1)],
    ['an unknown type', ({ record }) => record(7)],
    ['type 255', ({ record }) => record(255, 1)],
    ['a second hello', ({ record }) => record(HELLO)],
    ['a welcome', ({ record }) => record(5)],
    ['a rotation with content', ({ record }) => record(3, 0)],
    ['a close without a code', ({ record }) => record(6)],
    ['a close with half a code', ({ record }) => record(6, 3)],
    ['close code 999', ({ record }) => record(6, 3, 231)],
    ['close code 5000', ({ record }) => record(6, 19, 136)],
    ['a close reason that is not UTF-8', ({ record }) => record(6, 3, 232, 0xc3)],
    ['a close reason of 124 bytes', ({ record }) => record(6, 3, 232, new Uint8Array(124))],
    ['two messages in a frame', ({ record }) => Buffer.concat([record(1, FULL), record(1, 1)])],
    ['a hello in parts', ({ record }) => Buffer.concat([record(0, FULL), record(HELLO, 1)])],
    ['a close in parts', ({ record }) => Buffer.concat([record(0, FULL), record(6, 3, 232)])],
    ['a rotation at the end of a frame', ({ record }) => Buffer.concat([record(0, FULL), record(3)])],
    ['a rotation before a message', ({ record, state }) => Buffer.concat([record(3), then(state.rekey(), () => record(1, 1))])],
    ['a part that is not full', ({ record }) => Buffer.concat([record(0, FULL.subarray(1)), record(1, 1)])],
    ['a part with no rest', ({ record }) => record(0, FULL)],
    ['under a new key that was not announced', ({ record, state }) => then(state.rekey(), () => record(1, 1))],
    ['under the old key', ({ channel, record }) => then(channel.open(record(3)), () => record(1, 1))],
    ['a message after the close', ({ channel, record }) => then(channel.open(record(6, 3, 232)), () => record(1, 1))],
    ['a second close', ({ channel, record }) => then(channel.open(record(6, 3, 232)), () => record(6, 3, 232))],
  ])('%s', (_name, frame) => {
    const peer = liar();
    peer.channel.open(peer.record(HELLO));
    const offered = frame(peer);
    expect(() => peer.channel.open(offered)).toThrow(CUT_SHORT);
    expect(peer.channel.isDestroyed).toBe(true);
    expect(() => peer.channel.open(peer.record(1))).toThrow(CUT_SHORT);
    expect(() => peer.channel.seal('x', 'welcome')).toThrow(NoiseError);
    expect(peer.channel.metrics()).toMatchObject({ decryptErrors: 2, encryptErrors: 1 });
  });

  it.each([
    ['a message', [1]],
    ['a message with a rotation', [2]],
    ['a rotation', [3]],
    ['a welcome', [5]],
    ['nothing', []],
  ])('%s instead of the hello', (_name, plaintext) => {
    const { channel, record } = liar();
    expect(() => channel.open(record(...plaintext))).toThrow(CUT_SHORT);
  });

  it('a hello in parts instead of the hello', () => {
    const { channel, record } = liar();
    expect(() => channel.open(Buffer.concat([record(0, FULL), record(HELLO, 1)]))).toThrow(CUT_SHORT);
  });

  it('a message over the limit, of which nothing is decrypted', () => {
    const { channel, record } = liar();
    channel.open(record(HELLO));
    const frame = Buffer.concat([record(0, FULL), record(0, FULL), record(0, FULL), record(1, FULL)]);
    expect(() => channel.open(frame)).toThrow(CUT_SHORT);
    expect(channel.metrics().decryptions).toBe(1);
  });

  it('a message over a limit that is smaller than a record', () => {
    const { channel, record } = liar(10);
    channel.open(record(HELLO, new Uint8Array(5000)));
    expect(channel.open(record(1, new Uint8Array(10)))).toMatchObject({ kind: 'message' });
    expect(() => channel.open(record(1, new Uint8Array(11)))).toThrow(CUT_SHORT);
  });
});

describe('frames that are not the one sealed next', () => {
  it.each([0, 1, 15, 16, 17, 100, 65_534])('%i bytes from nowhere', (length) => {
    expect(() => connect().server.open(new Uint8Array(length))).toThrow(CUT_SHORT);
  });

  it.each<[string, (frames: readonly Uint8Array[]) => Uint8Array]>([
    ['again', ([first]) => first!],
    ['too early', ([, , third]) => third!],
    ['joined with the one after it', ([, second, third]) => Buffer.concat([second!, third!])],
    ['with a byte more', ([, second]) => Buffer.concat([second!, Buffer.of(0)])],
    ['cut at the end', ([, second]) => second!.subarray(0, -1)],
    ['cut at the beginning', ([, second]) => second!.subarray(1)],
    ['the first of its records', ([, second]) => second!.subarray(0, 65_535)],
    ['without the first of its records', ([, second]) => second!.subarray(65_535)],
    ['empty', () => EMPTY],
  ])('%s', (_name, pick) => {
    const { client, server } = connect();
    const frames = [client.seal('one'), client.seal('two'.repeat(30_000)), client.seal('three')];
    server.open(frames[0]!);
    expect(() => server.open(pick(frames))).toThrow(CUT_SHORT);
    expect(() => server.open(frames[1]!)).toThrow(CUT_SHORT);
  });

  it.each([1, 16, 17, 18])('whose records are full, and %i bytes more', (extra) => {
    for (const records of [1, 2]) {
      const { client, server } = connect();
      const frame = Buffer.concat([client.seal(new Uint8Array(records * MAX_CONTENT_BYTES)), Buffer.alloc(extra)]);
      expect(() => server.open(frame)).toThrow(CUT_SHORT);
      expect(server.isDestroyed).toBe(true);
    }
  });

  it("another connection's, and one's own", () => {
    expect(() => connect().server.open(connect().client.seal('x'))).toThrow(CUT_SHORT);
    const { client } = connect();
    expect(() => client.open(client.seal('x'))).toThrow(CUT_SHORT);
  });

  it.each(Object.entries(BACKENDS))('%s: any byte changed in any way', (_name, crypto) => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, mask) => {
        const { client, server } = connect({ serverCrypto: crypto });
        const frame = client.seal(message);
        frame[at % frame.length]! ^= mask;
        expect(() => server.open(frame)).toThrow(CUT_SHORT);
      }),
      { numRuns: 30 },
    );
  });
});

it('any messages of any size arrive whole and in order, whatever changes keys and is under way meanwhile', () => {
  const size = fc.oneof(
    fc.nat(50),
    fc.constantFrom(0, MAX_CONTENT_BYTES - 1, MAX_CONTENT_BYTES, MAX_CONTENT_BYTES + 1, 2 * MAX_CONTENT_BYTES, 150_000),
  );
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), way: fc.nat(1), size }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('receive' as const), way: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('rotate' as const), way: fc.nat(1) }) },
  );
  const after = fc.integer({ min: 1, max: 5 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), after, after, (steps, clientsRekey, serversRekey) => {
      const pair = connect({ client: { rekeyAfterMessages: clientsRekey }, server: { rekeyAfterMessages: serversRekey } });
      const ways = [
        { from: pair.client, to: pair.server, sent: [] as Uint8Array[], frames: [] as Uint8Array[], got: [] as NoiseEvent[] },
        { from: pair.server, to: pair.client, sent: [] as Uint8Array[], frames: [] as Uint8Array[], got: [] as NoiseEvent[] },
      ];
      const receive = (way: (typeof ways)[number]) => {
        const frame = way.frames.shift();
        if (frame !== undefined) way.got.push(way.to.open(frame));
      };
      for (const [n, todo] of steps.entries()) {
        const way = ways[todo.way]!;
        if (todo.do === 'receive') receive(way);
        else if (todo.do === 'rotate') way.frames.push(way.from.rotate());
        else {
          const message = new Uint8Array(todo.size).fill(n);
          way.sent.push(message);
          const frame = way.from.seal(message);
          expect(frame.length).toBe(frameBytesOf(todo.size));
          way.frames.push(frame);
        }
      }
      for (const way of ways) {
        while (way.frames.length > 0) receive(way);
        const messages = way.got.flatMap((event) => (event.kind === 'message' ? [Buffer.from(event.bytes)] : []));
        expect(messages.length).toBe(way.sent.length);
        for (const [n, message] of messages.entries()) expect(message.equals(way.sent[n]!)).toBe(true);
      }
      expect(pair.client.keyId).toBe(pair.server.keyId);
      expect(pair.client.metrics()).toMatchObject({
        encryptions: pair.server.metrics().decryptions,
        rotationsSent: pair.server.metrics().rotationsReceived,
        encryptErrors: 0,
        decryptErrors: 0,
      });
    }),
    { numRuns: 30 },
  );
});

describe('the order of records', () => {
  it('a hello comes first, then the welcome, which do not count against the message limit', () => {
    const { client, server } = shakeHands(endpoints({ maxMessageBytes: 4 }));
    for (const [channel, wrong] of [
      [client, 'welcome'],
      [server, 'hello'],
    ] as const) {
      expect(() => channel.seal('x')).toThrow(NoiseError);
      expect(() => channel.rotate()).toThrow(NoiseError);
      expect(() => channel.seal('x', wrong)).toThrow(NoiseError);
    }
    expect(() => client.seal(new Uint8Array(MAX_CONTENT_BYTES + 1), 'hello')).toThrow(NoiseError);
    const hello = server.open(client.seal('{"authorization":"Bearer x"}', 'hello'));
    expect(hello.kind === 'hello' && text(hello.bytes)).toBe('{"authorization":"Bearer x"}');
    expect(() => client.seal('{}', 'hello')).toThrow(NoiseError);
    // A client need not wait for the welcome.
    expect(server.open(client.seal('ping'))).toMatchObject({ kind: 'message' });
    expect(client.open(server.seal('{}', 'welcome'))).toMatchObject({ kind: 'welcome' });
    expect(() => server.open(client.seal('12345'))).toThrow(CUT_SHORT);
  });

  it('a close can take the place of the welcome', () => {
    const { client, server } = shakeHands(endpoints());
    server.open(client.seal('{}', 'hello'));
    expect(client.open(server.sealClose(4401, 'token expired'))).toEqual({ kind: 'close', code: 4401, reason: 'token expired' });
  });

  it('after a close nothing is sealed, and the other direction goes on', () => {
    const { client, server } = connect();
    const late = client.seal('under way');
    const close = server.sealClose(1001, 'draining ✓');
    expect(() => server.seal('x')).toThrow(NoiseError);
    expect(() => server.rotate()).toThrow(NoiseError);
    expect(() => server.sealClose(1000, '')).toThrow(NoiseError);
    expect(server.open(late)).toMatchObject({ kind: 'message' });
    expect(client.open(close)).toEqual({ kind: 'close', code: 1001, reason: 'draining ✓' });
    expect(server.open(client.sealClose(1000, ''))).toEqual({ kind: 'close', code: 1000, reason: '' });
    expect(server.metrics()).toMatchObject({ encryptErrors: 3, decryptErrors: 0 });
  });

  it.each([
    [999, ''],
    [5000, ''],
    [1000.5, ''],
    [1000, 'ä'.repeat(62)],
  ])('close code %d with reason %j cannot be sent, and ends nothing', (code, reason) => {
    const { client, server } = connect();
    expect(() => client.sealClose(code, reason)).toThrow(RangeError);
    expect(server.open(client.seal('x'))).toMatchObject({ kind: 'message' });
  });
});

describe('changing keys', () => {
  it('after so many messages, each direction on its own', () => {
    const { client, server } = connect({ client: { rekeyAfterMessages: 3 }, server: { rekeyAfterMessages: 1000 } });
    const id = client.keyId;
    // The hello was the first.
    server.open(client.seal('2'));
    expect(client.keyId).toBe(id);
    const third = client.seal('3');
    expect(client.keyId).not.toBe(id);
    expect(server.keyId).toBe(id);
    server.open(third);
    expect(server.keyId).toBe(client.keyId);
    client.open(server.seal('x'));
    expect(server.metrics()).toMatchObject({ rotationsSent: 0, rotationsReceived: 1 });
  });

  it('counts the records of long messages', () => {
    const { client } = connect({ client: { rekeyAfterMessages: 6 } });
    client.seal(new Uint8Array(4 * MAX_CONTENT_BYTES));
    expect(client.metrics()).toMatchObject({ encryptions: 5, rotationsSent: 0 });
    client.seal('x');
    expect(client.metrics()).toMatchObject({ encryptions: 6, rotationsSent: 1 });
  });

  it('on the clock, when the key has been used; the frame goes out on its own', async () => {
    const clock = new ManualClock();
    const { client, server, rekeys } = connect({ clock, client: { keyRotationIntervalMs: 1000 }, server: { keyRotationIntervalMs: 0 } });
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(999);
    expect(rekeys.client).toHaveLength(0);
    await clock.advance(1);
    expect(rekeys.client).toHaveLength(1);
    const message = client.seal('under the new key');
    expect(server.open(rekeys.client[0]!)).toEqual({ kind: 'rekey' });
    expect(server.open(message)).toMatchObject({ kind: 'message' });
    await clock.advance(1000);
    expect(rekeys.client).toHaveLength(2);
    // Nothing was sealed since, so there is nothing to protect.
    await clock.advance(10_000);
    expect(rekeys.client).toHaveLength(2);
    expect(rekeys.server).toHaveLength(0);
  });

  it('every hour by default, and not before the hello', async () => {
    const clock = new ManualClock();
    const silent = shakeHands(endpoints({ clock }));
    const { rekeys } = connect({ clock });
    await clock.advance(3_599_999);
    expect([rekeys.client.length, rekeys.server.length]).toEqual([0, 0]);
    await clock.advance(1);
    expect([rekeys.client.length, rekeys.server.length]).toEqual([1, 1]);
    expect(silent.rekeys).toEqual({ client: [], server: [] });
  });

  it('no timer is left after a close, a refusal or destroy()', () => {
    const clock = new ManualClock();
    const { client, server } = connect({ clock });
    const other = connect({ clock });
    expect(clock.pendingTimers).toBe(4);
    client.sealClose(1000, '');
    expect(clock.pendingTimers).toBe(3);
    expect(() => server.open(EMPTY)).toThrow(NoiseError);
    expect(clock.pendingTimers).toBe(2);
    for (const channel of [other.client, other.server, other.client]) channel.destroy();
    expect(clock.pendingTimers).toBe(0);
    expect(() => other.client.seal('x')).toThrow(NoiseError);
    expect(() => other.client.open(EMPTY)).toThrow(CUT_SHORT);
  });
});

it('counts and times what it does', () => {
  const { client, server } = connect();
  server.open(client.seal(new Uint8Array(100_000)));
  const metrics = server.metrics();
  expect(metrics).toMatchObject({
    encryptions: 1,
    decryptions: 3,
    encryptErrors: 0,
    decryptErrors: 0,
    rotationsSent: 0,
    rotationsReceived: 0,
  });
  expect(metrics.decryptMs).toBeGreaterThan(0);
  expect(metrics.encryptMs).toBeGreaterThan(0);
});

it('what is opened belongs to the caller, and what was sealed is left as it was', () => {
  const { client, server } = connect();
  const message = new Uint8Array(70_000).fill(7);
  const frame = client.seal(message);
  expect(message.every((byte) => byte === 7)).toBe(true);
  const event = server.open(frame);
  frame.fill(0);
  expect(event.kind === 'message' && event.bytes.every((byte) => byte === 7)).toBe(true);
});
