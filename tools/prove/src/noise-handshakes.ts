import { ManualClock } from '@mcp-blocks/core/testing';
import {
  type NoiseCrypto,
  NoiseEndpoint,
  NoiseError,
  type NoiseHandshake,
  type NoisePattern,
  type NoiseProtocolName,
  newNoiseKeyPair,
  nobleCrypto,
} from '@mcp-blocks/encrypted-websocket/noise';
import type { Fault, Verdict } from './noise-link.ts';

/** Points whose every multiple by a clamped scalar is zero (RFC 7748, section 6.1), and spellings of them. */
const LOW_ORDER_POINTS = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
].map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')));

const PATTERNS: readonly NoisePattern[] = ['NK', 'XK', 'IK', 'XX'];
const CIPHERS = ['AESGCM', 'ChaChaPoly'] as const;
const server = newNoiseKeyPair(nobleCrypto);
const client = newNoiseKeyPair(nobleCrypto);
const stranger = newNoiseKeyPair(nobleCrypto);
const clock = new ManualClock();

interface Ends {
  readonly client: NoiseHandshake;
  readonly server: NoiseHandshake;
}

interface Setting {
  readonly below: (limit: number) => number;
  readonly crypto: NoiseCrypto;
  readonly fault: Fault | undefined;
}

/** One handshake with one thing wrong: nobody may come out of it with a channel from there on. */
export function attackHandshake({ below, crypto: honest, fault }: Setting): { name: string; verdict: Verdict } {
  const pattern = PATTERNS[below(PATTERNS.length)] as NoisePattern;
  const cipher = CIPHERS[below(2)] as (typeof CIPHERS)[number];
  const protocol: NoiseProtocolName = `Noise_${pattern}_25519_${cipher}_SHA256`;
  const crypto = fault?.crypto?.(honest) ?? honest;
  const trick = TRICKS[below(TRICKS.length)] as Trick;
  const ends = begin(protocol, crypto, trick.endpoints?.(pattern, crypto, below) ?? {});
  const victim = below(pattern === 'NK' || pattern === 'IK' ? 2 : 3);
  const name = `${protocol}: ${trick.name}, message ${victim + 1}`;
  const mend =
    trick.frame === undefined
      ? undefined
      : {
          at: victim,
          frame: trick.frame,
          below,
          other: () => record(begin(protocol, crypto, {})),
          from: trick.isGenuineFirst === true && victim === 0 ? 1 : victim,
        };
  try {
    return { name, verdict: run(ends, mend) ? 'accepted' : 'refused' };
  } catch (error) {
    return { name, verdict: error instanceof NoiseError ? 'refused' : 'crashed' };
  } finally {
    ends.client.destroy();
    ends.server.destroy();
  }
}

interface Trick {
  readonly name: string;
  /** Changes a message; given are those so far, the one to change last, and those of another handshake. */
  readonly frame?: (frames: readonly Uint8Array[], below: (limit: number) => number, other: () => readonly Uint8Array[]) => Uint8Array;
  /** Whether it leaves the first message one that a client has written, which no server can tell from its own client's: then the client must refuse. */
  readonly isGenuineFirst?: boolean;
  /** Changes an end. */
  readonly endpoints?: (pattern: NoisePattern, crypto: NoiseCrypto, below: (limit: number) => number) => Partial<Changes>;
}

interface Changes {
  readonly clientProtocol: NoiseProtocolName;
  readonly clientCrypto: NoiseCrypto;
  readonly serverPublicKey: string;
  readonly acceptClient: (key: string) => boolean;
}

const last = (frames: readonly Uint8Array[]) => new Uint8Array(frames.at(-1) as Uint8Array);

const TRICKS: readonly Trick[] = [
  { name: 'a byte changed', frame: (frames, below) => changed(last(frames), below(last(frames).length), 1 + below(255)) },
  { name: 'a bit changed', frame: (frames, below) => changed(last(frames), below(last(frames).length), 1 << below(8)) },
  { name: 'the bit of the ephemeral key that X25519 leaves out', frame: (frames) => changed(last(frames), 31, 0x80) },
  { name: 'cut', frame: (frames, below) => last(frames).subarray(0, below(last(frames).length)) },
  { name: 'longer', frame: (frames, below) => Buffer.concat([last(frames), new Uint8Array(1 + below(40))]) },
  { name: 'doubled', frame: (frames) => Buffer.concat([last(frames), last(frames)]) },
  { name: 'of another handshake', isGenuineFirst: true, frame: (frames, _below, other) => other()[frames.length - 1] as Uint8Array },
  { name: 'replaced by zeros', frame: (frames) => new Uint8Array(last(frames).length) },
  { name: 'sent back', frame: (frames) => (frames.length === 1 ? new Uint8Array(1) : (frames.at(-2) as Uint8Array)) },
  {
    name: 'of a client with a point of low order',
    endpoints: (_pattern, crypto, below) => ({ clientCrypto: withLowOrderKeys(crypto, below) }),
  },
  {
    name: 'of another protocol',
    endpoints: (pattern, _crypto, below) => {
      const others = PATTERNS.filter((other) => other !== pattern);
      return { clientProtocol: `Noise_${others[below(others.length)] as NoisePattern}_25519_AESGCM_SHA256` };
    },
  },
  { name: 'for another server', endpoints: () => ({ serverPublicKey: stranger.publicKey }) },
  {
    name: 'of an unwelcome client',
    endpoints: (pattern) => (pattern === 'NK' ? { serverPublicKey: stranger.publicKey } : { acceptClient: () => false }),
  },
];

function begin(protocol: NoiseProtocolName, crypto: NoiseCrypto, changes: Partial<Changes>): Ends {
  const environment = { crypto, clock, maxMessageBytes: 1000 };
  const clientProtocol = changes.clientProtocol ?? protocol;
  const clientEnd = new NoiseEndpoint(
    'client',
    {
      protocol: clientProtocol,
      serverPublicKey: changes.serverPublicKey ?? server.publicKey,
      keyRotationIntervalMs: 0,
      ...(clientProtocol.startsWith('Noise_NK') ? {} : { privateKey: client.privateKey }),
    },
    { ...environment, crypto: changes.clientCrypto ?? crypto },
  );
  const serverEnd = new NoiseEndpoint(
    'server',
    {
      protocol,
      privateKey: server.privateKey,
      keyRotationIntervalMs: 0,
      ...(changes.acceptClient === undefined ? {} : { acceptPeer: changes.acceptClient }),
    },
    environment,
  );
  return { client: clientEnd.handshake(() => {}), server: serverEnd.handshake(() => {}) };
}

interface Mend {
  readonly at: number;
  readonly frame: NonNullable<Trick['frame']>;
  readonly below: (limit: number) => number;
  readonly other: () => readonly Uint8Array[];
  /** The first turn at which nobody may get a channel. */
  readonly from: number;
}

/** Runs a handshake; whether anybody got a channel for the changed message or a later one, or with a changed end at all. */
function run(ends: Ends, mend: Mend | undefined): boolean {
  const frames = [ends.client.start()];
  for (let turn = 0; turn < frames.length; turn += 1) {
    const frame = turn === mend?.at ? mend.frame(frames, mend.below, mend.other) : (frames[turn] as Uint8Array);
    const { reply, channel } = (turn % 2 === 0 ? ends.server : ends.client).receive(frame);
    channel?.destroy();
    if (reply !== undefined) frames.push(reply);
    if (channel !== undefined && (mend === undefined ? reply === undefined : turn >= mend.from)) return true;
  }
  return false;
}

/** The messages of a handshake in which nothing is wrong. */
function record(ends: Ends): readonly Uint8Array[] {
  const frames = [ends.client.start()];
  for (let turn = 0; turn < frames.length; turn += 1) {
    const { reply, channel } = (turn % 2 === 0 ? ends.server : ends.client).receive(frames[turn] as Uint8Array);
    channel?.destroy();
    if (reply !== undefined) frames.push(reply);
  }
  return frames;
}

function changed(frame: Uint8Array, at: number, mask: number): Uint8Array {
  frame[at] = (frame[at] as number) ^ mask;
  return frame;
}

/** The library of a client that needs no key to know what comes of its DHs. */
function withLowOrderKeys(crypto: NoiseCrypto, below: (limit: number) => number): NoiseCrypto {
  const point = LOW_ORDER_POINTS[below(LOW_ORDER_POINTS.length)] as Uint8Array;
  return { ...crypto, generateKeyPair: () => ({ publicKey: point, dh: () => new Uint8Array(32), destroy() {} }) };
}
