import type { Clock } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import {
  type NoiseChannel,
  type NoiseClientOptions,
  type NoiseCrypto,
  NoiseEndpoint,
  type NoisePattern,
  type NoiseProtocolName,
  type NoiseServerOptions,
  newNoiseKeyPair,
  nobleCrypto,
} from '../../src/noise/index.js';
import { nodeCrypto } from '../../src/noise/node-crypto.js';

export const BACKENDS = { node: nodeCrypto, noble: nobleCrypto } as const;
export const PATTERNS: readonly NoisePattern[] = ['NK', 'XK', 'IK', 'XX'];
export const CIPHERS = ['AESGCM', 'ChaChaPoly'] as const;
export const PROTOCOLS = PATTERNS.flatMap((pattern) =>
  CIPHERS.map((cipher): NoiseProtocolName => `Noise_${pattern}_25519_${cipher}_SHA256`),
);

export const serverKeys = newNoiseKeyPair(nodeCrypto);
export const clientKeys = newNoiseKeyPair(nodeCrypto);

export interface PairOptions {
  readonly protocol?: NoiseProtocolName;
  readonly client?: Partial<NoiseClientOptions>;
  readonly server?: Partial<NoiseServerOptions>;
  readonly clientCrypto?: NoiseCrypto;
  readonly serverCrypto?: NoiseCrypto;
  readonly clock?: Clock;
  readonly maxMessageBytes?: number;
}

/** Both endpoints, with keys that fit. */
export function endpoints(options: PairOptions = {}): { client: NoiseEndpoint; server: NoiseEndpoint } {
  const protocol = options.protocol ?? 'Noise_NK_25519_AESGCM_SHA256';
  const clock = options.clock ?? new ManualClock();
  const maxMessageBytes = options.maxMessageBytes ?? 4_194_304;
  const own = protocol.startsWith('Noise_NK') ? {} : { privateKey: clientKeys.privateKey };
  return {
    client: new NoiseEndpoint(
      'client',
      { protocol, serverPublicKey: serverKeys.publicKey, ...own, ...options.client },
      { crypto: options.clientCrypto ?? nodeCrypto, clock, maxMessageBytes },
    ),
    server: new NoiseEndpoint(
      'server',
      { protocol, privateKey: serverKeys.privateKey, ...options.server },
      { crypto: options.serverCrypto ?? nodeCrypto, clock, maxMessageBytes },
    ),
  };
}

export interface Pair {
  readonly client: NoiseChannel;
  readonly server: NoiseChannel;
  /** Frames that each end's timer has made. */
  readonly rekeys: { readonly client: Uint8Array[]; readonly server: Uint8Array[] };
  /** The frames of the handshake, in order. */
  readonly frames: readonly Uint8Array[];
}

/** Runs a handshake to its end. */
export function shakeHands(ends: { client: NoiseEndpoint; server: NoiseEndpoint }): Pair {
  const rekeys: Pair['rekeys'] = { client: [], server: [] };
  const client = ends.client.handshake((frame) => rekeys.client.push(frame));
  const server = ends.server.handshake((frame) => rekeys.server.push(frame));
  const frames = [client.start()];
  const channels: { client?: NoiseChannel; server?: NoiseChannel } = {};
  for (let turn = 0; channels.client === undefined || channels.server === undefined; turn += 1) {
    const { reply, channel } = (turn % 2 === 0 ? server : client).receive(frames[turn]!);
    if (channel !== undefined) channels[turn % 2 === 0 ? 'server' : 'client'] = channel;
    if (reply !== undefined) frames.push(reply);
  }
  return { client: channels.client, server: channels.server, rekeys, frames };
}

/** Two channels that have greeted each other. */
export function connect(options: PairOptions = {}): Pair {
  const pair = shakeHands(endpoints(options));
  pair.server.open(pair.client.seal('{}', 'hello'));
  pair.client.open(pair.server.seal('{}', 'welcome'));
  return pair;
}

export const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
