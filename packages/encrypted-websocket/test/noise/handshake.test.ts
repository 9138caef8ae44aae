import { inspect } from 'node:util';
import { ConfigurationError } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { HandshakeState, NoiseEndpoint, NoiseError, newNoiseKeyPair, parseProtocolName } from '../../src/noise/index.js';
import { nodeCrypto } from '../../src/noise/node-crypto.js';
import { BACKENDS, CIPHERS, clientKeys, connect, endpoints, PATTERNS, PROTOCOLS, serverKeys, shakeHands, text } from './support.js';

const BACKEND_NAMES = ['node', 'noble'] as const;
const BACKEND_PAIRS = BACKEND_NAMES.flatMap((client) => BACKEND_NAMES.map((server) => [client, server] as const));
const SIZES = { NK: [48, 48], XK: [48, 48, 64], IK: [96, 48], XX: [32, 96, 64] } as const;
const EMPTY = new Uint8Array(0);
const environment = { crypto: nodeCrypto, clock: { now: () => 0, setTimeout: () => () => {} }, maxMessageBytes: 1000 };

describe.each(BACKEND_PAIRS)('%s client, %s server', (client, server) => {
  it.each(PROTOCOLS)('%s carries messages both ways', (protocol) => {
    const pair = connect({ protocol, clientCrypto: BACKENDS[client], serverCrypto: BACKENDS[server], client: { rekeyAfterMessages: 2 } });
    for (let n = 0; n < 3; n += 1) {
      expect(pair.server.open(pair.client.seal(`ping ${n}`))).toMatchObject({ kind: 'message' });
      const long = `pong ${n}`.repeat(12_000);
      const event = pair.client.open(pair.server.seal(long));
      expect(event.kind === 'message' && text(event.bytes)).toBe(long);
    }
    expect(pair.client.keyId).toMatch(/^[0-9a-f]{16}-2-0$/);
    expect(pair.client.keyId).toBe(pair.server.keyId);
    expect(pair.client.handshakeHash).toEqual(pair.server.handshakeHash);
    expect(pair.client.algorithm).toBe(protocol);
    expect(pair.client.peerPublicKey).toBe(serverKeys.publicKey);
    expect(pair.server.peerPublicKey).toBe(protocol.includes('NK') ? undefined : clientKeys.publicKey);
  });
});

it.each(PATTERNS)('%s has messages of the documented sizes', (pattern) => {
  const { frames } = connect({ protocol: `Noise_${pattern}_25519_AESGCM_SHA256` });
  expect(frames.map(({ length }) => length)).toEqual(SIZES[pattern]);
});

describe('a handshake is refused', () => {
  it.each(PATTERNS.flatMap((pattern) => CIPHERS.map((cipher) => [pattern, cipher] as const)))(
    '%s %s, for another server key',
    (pattern, cipher) => {
      const ends = endpoints({ protocol: `Noise_${pattern}_25519_${cipher}_SHA256`, client: { serverPublicKey: clientKeys.publicKey } });
      expect(() => shakeHands(ends)).toThrow(NoiseError);
    },
  );

  it.each(PATTERNS.flatMap((ours) => PATTERNS.filter((theirs) => theirs !== ours).map((theirs) => [ours, theirs] as const)))(
    '%s at the client and %s at the server',
    (ours, theirs) => {
      const { client } = endpoints({ protocol: `Noise_${ours}_25519_AESGCM_SHA256` });
      const { server } = endpoints({ protocol: `Noise_${theirs}_25519_AESGCM_SHA256` });
      expect(() => shakeHands({ client, server })).toThrow(NoiseError);
    },
  );

  it.each(PATTERNS)('%s with another prologue', (pattern) => {
    const protocol = parseProtocolName('protocol', `Noise_${pattern}_25519_ChaChaPoly_SHA256`);
    const [server, client] = [nodeCrypto.generateKeyPair(), nodeCrypto.generateKeyPair()];
    const common = { crypto: nodeCrypto, protocol };
    const remoteStaticKey = pattern === 'XX' ? undefined : server.publicKey;
    const run = (prologue: Uint8Array) => {
      const initiator = new HandshakeState({ ...common, initiator: true, prologue, staticKey: client, remoteStaticKey });
      const responder = new HandshakeState({ ...common, initiator: false, prologue: Uint8Array.of(1), staticKey: server });
      responder.readMessage(initiator.writeMessage(EMPTY));
      initiator.readMessage(responder.writeMessage(EMPTY));
    };
    expect(() => run(Uint8Array.of(1))).not.toThrow();
    expect(() => run(Uint8Array.of(2))).toThrow(NoiseError);
  });

  it.each(PATTERNS)('%s when a byte of any message is another, or the length is', (pattern) => {
    const ends = endpoints({ protocol: `Noise_${pattern}_25519_AESGCM_SHA256` });
    for (const [index, size] of SIZES[pattern].entries()) {
      const spoiled: ((frame: Uint8Array) => Uint8Array)[] = [
        (frame) => frame.subarray(1),
        (frame) => frame.subarray(0, -1),
        () => EMPTY,
        (frame) => Buffer.concat([frame, Buffer.of(0)]),
        ...Array.from({ length: size }, (_, at) => (frame: Uint8Array) => frame.map((byte, place) => (place === at ? byte ^ 0x80 : byte))),
      ];
      for (const spoil of spoiled) {
        const client = ends.client.handshake(() => {});
        const server = ends.server.handshake(() => {});
        expect(() => {
          let frame = client.start();
          for (let turn = 0; turn < 3; turn += 1) {
            const { reply } = (turn % 2 === 0 ? server : client).receive(turn === index ? spoil(frame) : frame);
            if (reply === undefined) return;
            frame = reply;
          }
        }).toThrow(NoiseError);
      }
    }
  });

  it('with a payload, which the protocol would allow', () => {
    const name = 'Noise_NK_25519_AESGCM_SHA256';
    const { server } = endpoints({ protocol: name });
    const send = (payload: Uint8Array) => {
      const initiator = new HandshakeState({
        crypto: nodeCrypto,
        protocol: parseProtocolName('protocol', name),
        initiator: true,
        prologue: Buffer.from(`mcp-blocks Noise channel 1 ${name}`),
        remoteStaticKey: Buffer.from(serverKeys.publicKey, 'base64url'),
      });
      return server.handshake(() => {}).receive(initiator.writeMessage(payload));
    };
    expect(send(EMPTY).channel).toBeDefined();
    expect(() => send(Uint8Array.of(1))).toThrow(NoiseError);
  });

  it('when the server does not accept the key of the client, or the client that of the server', () => {
    const asked: string[] = [];
    const acceptPeer = (key: string) => asked.push(key) === 0;
    for (const pattern of ['XK', 'IK', 'XX'] as const) {
      expect(() => shakeHands(endpoints({ protocol: `Noise_${pattern}_25519_AESGCM_SHA256`, server: { acceptPeer } }))).toThrow(NoiseError);
    }
    expect(asked).toEqual(Array(3).fill(clientKeys.publicKey));
    const protocol = 'Noise_XX_25519_AESGCM_SHA256';
    const { server } = endpoints({ protocol });
    const trusting = (accepted: string) =>
      new NoiseEndpoint('client', { protocol, privateKey: clientKeys.privateKey, acceptPeer: (key) => key === accepted }, environment);
    expect(shakeHands({ client: trusting(serverKeys.publicKey), server }).client.peerPublicKey).toBe(serverKeys.publicKey);
    expect(() => shakeHands({ client: trusting(clientKeys.publicKey), server })).toThrow(NoiseError);
  });

  it('out of turn, after its end, and after a refusal', () => {
    const ends = endpoints();
    const client = ends.client.handshake(() => {});
    const server = ends.server.handshake(() => {});
    expect(() => server.start()).toThrow(NoiseError);
    const again = ends.server.handshake(() => {});
    const first = client.start();
    expect(() => client.start()).toThrow(NoiseError);
    expect(() => again.receive(first.map((byte) => byte ^ 1))).toThrow(NoiseError);
    expect(() => again.receive(first)).toThrow(NoiseError);
    const { channel } = ends.server.handshake(() => {}).receive(first);
    channel?.destroy();
    const late = ends.server.handshake(() => {});
    late.destroy();
    expect(() => late.receive(first)).toThrow(NoiseError);
    const done = ends.server.handshake(() => {});
    done.receive(first);
    expect(() => done.receive(first)).toThrow(NoiseError);
  });
});

const LOW_ORDER_POINTS = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
  `${'00'.repeat(31)}80`,
  `01${'00'.repeat(30)}80`,
  `${'ec'}${'ff'.repeat(31)}`,
];

describe.each(BACKEND_NAMES)('points of low order, %s', (backend) => {
  const crypto = BACKENDS[backend];

  it.each(LOW_ORDER_POINTS)('%s makes no secret', (hex) => {
    const point = Uint8Array.from(Buffer.from(hex, 'hex'));
    expect(crypto.generateKeyPair().dh(point)).toBeUndefined();
    const serverPublicKey = Buffer.from(point).toString('base64url');
    const make = () =>
      new NoiseEndpoint('client', { protocol: 'Noise_NK_25519_AESGCM_SHA256', serverPublicKey }, { ...environment, crypto });
    expect(make).toThrow(new ConfigurationError('noise.serverPublicKey', 'expected a Curve25519 public key, got a point of low order'));
  });

  it.each(PATTERNS)('%s: an ephemeral key that is one is refused', (pattern) => {
    const lowOrder = {
      ...nodeCrypto,
      generateKeyPair: () => ({ publicKey: new Uint8Array(32), dh: () => new Uint8Array(32), destroy() {} }),
    };
    const ends = endpoints({ protocol: `Noise_${pattern}_25519_AESGCM_SHA256`, clientCrypto: lowOrder, serverCrypto: crypto });
    expect(() => shakeHands(ends)).toThrow(NoiseError);
  });
});

describe('options', () => {
  const NK = 'Noise_NK_25519_AESGCM_SHA256';
  const IK = 'Noise_IK_25519_AESGCM_SHA256';
  const XX = 'Noise_XX_25519_AESGCM_SHA256';
  const { publicKey: serverPublicKey, privateKey } = serverKeys;

  it.each([
    ['client', 'noise.protocol', { protocol: 'Noise_NN_25519_AESGCM_SHA256', serverPublicKey }],
    ['client', 'noise.protocol', { protocol: `${NK} `, serverPublicKey }],
    ['client', 'noise.serverPublicKey', { protocol: NK }],
    ['client', 'noise.serverPublicKey', { protocol: NK, serverPublicKey: `${serverPublicKey}=` }],
    ['client', 'noise.serverPublicKey', { protocol: NK, serverPublicKey: serverPublicKey.replace(/.$/, 'B') }],
    ['client', 'noise.serverPublicKey', { protocol: NK, serverPublicKey: serverPublicKey.replace(/^./, '+') }],
    ['client', 'noise.serverPublicKey', { protocol: XX, privateKey }],
    ['client', 'noise.privateKey', { protocol: NK, serverPublicKey, privateKey }],
    ['client', 'noise.privateKey', { protocol: IK, serverPublicKey }],
    ['client', 'noise.privateKey', { protocol: IK, serverPublicKey, privateKey: `${privateKey}x` }],
    ['client', 'noise.acceptPeer', { protocol: IK, serverPublicKey, privateKey, acceptPeer: () => true }],
    ['client', 'noise.acceptPeer', { protocol: XX, serverPublicKey, privateKey, acceptPeer: true }],
    ['client', 'noise.rekeyAfterMessages', { protocol: NK, serverPublicKey, rekeyAfterMessages: 0 }],
    ['client', 'noise.rekeyAfterMessages', { protocol: NK, serverPublicKey, rekeyAfterMessages: 4_194_305 }],
    ['client', 'noise.keyRotationIntervalMs', { protocol: NK, serverPublicKey, keyRotationIntervalMs: -1 }],
    ['client', 'noise.keyRotationIntervalMs', { protocol: NK, serverPublicKey, keyRotationIntervalMs: 2 ** 31 }],
    ['server', 'noise.privateKey', { protocol: NK }],
    ['server', 'noise.privateKey', { protocol: NK, privateKey: null }],
    ['server', 'noise.serverPublicKey', { protocol: NK, privateKey, serverPublicKey }],
    ['server', 'noise.acceptPeer', { protocol: NK, privateKey, acceptPeer: () => true }],
  ] as const)('%s: %s is refused', (role, option, options) => {
    const make = () => new NoiseEndpoint(role as 'client', options as never, environment);
    expect(make).toThrow(ConfigurationError);
    try {
      make();
    } catch (error) {
      expect((error as ConfigurationError).option).toBe(option);
      expect(String(error)).not.toContain(privateKey);
      expect(String(error)).not.toContain(serverPublicKey.slice(1, -1));
    }
  });

  it('the subprotocol names the protocol', () => {
    const { client, server } = endpoints({ protocol: IK });
    expect(client.subprotocol).toBe(`mcp.${IK}`);
    expect(Buffer.from(server.publicKey!).toString('base64url')).toBe(serverPublicKey);
    expect(endpoints().client.publicKey).toBeUndefined();
  });
});

it('new keys fit together, on both libraries', () => {
  const [node, noble] = [newNoiseKeyPair(BACKENDS.node), newNoiseKeyPair(BACKENDS.noble)];
  for (const crypto of Object.values(BACKENDS)) {
    for (const { publicKey, privateKey } of [node, noble]) {
      expect(publicKey).toMatch(/^[\w-]{43}$/);
      const pair = crypto.keyPair(Buffer.from(privateKey, 'base64url'));
      expect(Buffer.from(pair.publicKey).toString('base64url')).toBe(publicKey);
    }
  }
  expect(node.privateKey).not.toBe(noble.privateKey);
});

it.each(BACKEND_NAMES)('%s: no key is in what inspecting an object shows', (backend) => {
  const crypto = BACKENDS[backend];
  const ends = endpoints({ protocol: 'Noise_XX_25519_AESGCM_SHA256', clientCrypto: crypto, serverCrypto: crypto });
  const secret = Buffer.from(serverKeys.privateKey, 'base64url');
  const { client } = shakeHands(ends);
  const shown = [ends.server, ends.server.handshake(() => {}), client, crypto.keyPair(secret), crypto.aead('AESGCM', secret)]
    .map((object) => inspect(object, { depth: 20, showHidden: true }) + JSON.stringify(object))
    .join('\n');
  for (const form of [serverKeys.privateKey, secret.toString('hex'), secret.toString('base64'), [...secret.subarray(0, 6)].join(', ')]) {
    expect(shown).not.toContain(form);
  }
});
