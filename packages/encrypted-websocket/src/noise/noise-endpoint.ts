import { type Clock, ConfigurationError } from '@mcp-blocks/core';
import { checkInteger, MAX_TIMER_MS } from '../option-checks.js';
import { decodeKey } from './keys.js';
import type { DhKeyPair, NoiseCrypto } from './noise-crypto.js';
import { NoiseHandshake } from './noise-handshake.js';
import { hasStaticKey, type NoiseProtocol, type NoiseProtocolName, PATTERNS, parseProtocolName } from './protocol-name.js';

/** What both ends may say about their Noise channels. */
interface NoiseOptions {
  /**
   * The Noise protocol, which both ends must have alike: nothing is negotiated, so nothing can be talked down.
   * On Node AESGCM is the faster cipher; in JavaScript alone, as in browsers, ChaChaPoly is by several times.
   */
  readonly protocol: NoiseProtocolName;
  /**
   * Records (messages of up to 65,518 bytes; larger ones count once for each started 65,518) after which the
   * sending key changes. From 1 to 4,194,304; default: 1,000,000, at most 61 GiB. RFC 8446, section 5.5 has
   * AES-GCM keep its margin of 2^-57 for 2^34.5 blocks under a key; the default is 2^32 of them, the most 2^34.
   */
  readonly rekeyAfterMessages?: number;
  /** Milliseconds after which a sending key that has been used changes. From 1 to 2^31 − 1, or 0: by count only. Default: 3,600,000, an hour. */
  readonly keyRotationIntervalMs?: number;
}

/** A client's end. */
export interface NoiseClientOptions extends NoiseOptions {
  /** The server's public key, as base64url. Required, except with XX beside `acceptPeer`. */
  readonly serverPublicKey?: string;
  /** This client's private key, as base64url: required with XK, IK and XX; NK has clients without a name. */
  readonly privateKey?: string;
  /**
   * With XX, whether the key a server has shown and proven is a server to talk to: `true`, and nothing else that is
   * truthy. Asked before this client tells its own.
   */
  readonly acceptPeer?: (publicKey: string) => boolean;
}

/** A server's end. */
export interface NoiseServerOptions extends NoiseOptions {
  /** The server's private key, as base64url. */
  readonly privateKey: string;
  /**
   * With XK, IK and XX, whether the key a client shows may connect: `true`, and nothing else that is truthy. With IK it is
   * asked before the key is proven, which an old handshake sent again never gets to. Default: every key may; it becomes
   * the client's identity.
   */
  readonly acceptPeer?: (publicKey: string) => boolean;
}

/** What an endpoint runs on. */
export interface NoiseEnvironment {
  readonly crypto: NoiseCrypto;
  readonly clock: Clock;
  /** Bytes of the largest message that is accepted. */
  readonly maxMessageBytes: number;
}

/** What a handshake needs to know; the checked form of the options. */
export interface NoiseSettings extends NoiseEnvironment {
  readonly role: 'client' | 'server';
  readonly protocol: NoiseProtocol;
  readonly staticKey: DhKeyPair | undefined;
  readonly serverKey: Uint8Array | undefined;
  readonly acceptPeer: ((publicKey: string) => boolean) | undefined;
  readonly rekeyAfterMessages: number;
  readonly keyRotationIntervalMs: number;
}

/**
 * One end's settings and keys, checked once; {@link handshake} begins each of its connections.
 *
 * As a client: `const handshake = endpoint.handshake(send)`, send `handshake.start()`, then give each frame to
 * `handshake.receive`, send its `reply` if there is one, until it returns a `channel`. As a server the same
 * without `start()`. Then `channel.seal(hello, 'hello')`, `channel.open(frame)` and so on.
 */
export class NoiseEndpoint {
  /** The WebSocket subprotocol that stands for MCP inside this Noise protocol. */
  readonly subprotocol: `mcp.${NoiseProtocolName}`;
  readonly #settings: NoiseSettings;

  /** @throws ConfigurationError naming the option, as `noise.privateKey`; keys are never shown */
  constructor(role: 'client', options: NoiseClientOptions, environment: NoiseEnvironment);
  constructor(role: 'server', options: NoiseServerOptions, environment: NoiseEnvironment);
  constructor(role: 'client' | 'server', options: NoiseClientOptions & Partial<NoiseServerOptions>, environment: NoiseEnvironment) {
    const protocol = parseProtocolName('noise.protocol', options.protocol);
    this.subprotocol = `mcp.${protocol.name}`;
    this.#settings = {
      ...environment,
      role,
      protocol,
      serverKey: checkServerKey(role, protocol, options, environment.crypto),
      staticKey: checkStaticKey(role, protocol, options, environment.crypto),
      acceptPeer: checkAcceptPeer(role, protocol, options),
      rekeyAfterMessages: checkInteger('noise.rekeyAfterMessages', options.rekeyAfterMessages ?? 1_000_000, { min: 1, max: 4_194_304 }),
      keyRotationIntervalMs: checkInteger('noise.keyRotationIntervalMs', options.keyRotationIntervalMs ?? 3_600_000, {
        min: 0,
        max: MAX_TIMER_MS,
      }),
      maxMessageBytes: checkInteger('maxMessageBytes', environment.maxMessageBytes, { min: 1 }),
    };
  }

  /** This end's own public key; undefined for a client of NK. */
  get publicKey(): Uint8Array | undefined {
    return this.#settings.staticKey && new Uint8Array(this.#settings.staticKey.publicKey);
  }

  /**
   * Begins the handshake of one connection. `onRekey` is given frames that the channel wants sent on its own
   * account, when the key rotation interval is over; before anything sealed later.
   */
  handshake(onRekey: (frame: Uint8Array) => void): NoiseHandshake {
    return new NoiseHandshake(this.#settings, onRekey);
  }
}

function checkServerKey(
  role: 'client' | 'server',
  { pattern }: NoiseProtocol,
  { serverPublicKey, acceptPeer }: NoiseClientOptions,
  crypto: NoiseCrypto,
): Uint8Array | undefined {
  if (role === 'server') return forbid('noise.serverPublicKey', serverPublicKey, 'is for clients; a server has its privateKey');
  if (serverPublicKey === undefined && acceptPeer !== undefined && !PATTERNS[pattern].knowsResponder) return undefined;
  const key = decodeKey('noise.serverPublicKey', serverPublicKey);
  const probe = crypto.generateKeyPair();
  const isUsable = probe.dh(key) !== undefined;
  probe.destroy();
  if (!isUsable) throw new ConfigurationError('noise.serverPublicKey', 'expected a Curve25519 public key, got a point of low order');
  return key;
}

function checkStaticKey(
  role: 'client' | 'server',
  { pattern }: NoiseProtocol,
  { privateKey }: { readonly privateKey?: string },
  crypto: NoiseCrypto,
): DhKeyPair | undefined {
  if (!hasStaticKey(pattern, role === 'client' ? 'initiator' : 'responder')) {
    return forbid('noise.privateKey', privateKey, `${pattern} has clients without a key; expected XK, IK or XX for one that has`);
  }
  const bytes = decodeKey('noise.privateKey', privateKey);
  const pair = crypto.keyPair(bytes);
  bytes.fill(0);
  return pair;
}

function checkAcceptPeer(role: 'client' | 'server', { pattern }: NoiseProtocol, { acceptPeer }: NoiseClientOptions) {
  if (acceptPeer === undefined) return undefined;
  if (typeof acceptPeer !== 'function') throw new ConfigurationError('noise.acceptPeer', `expected a function, got ${typeof acceptPeer}`);
  if (role === 'client' && PATTERNS[pattern].knowsResponder) {
    return forbid('noise.acceptPeer', acceptPeer, `is for XX; with ${pattern} the server is the one of serverPublicKey`);
  }
  if (role === 'server' && !hasStaticKey(pattern, 'initiator')) {
    return forbid('noise.acceptPeer', acceptPeer, `is for XK, IK and XX; ${pattern} has clients without a key`);
  }
  return acceptPeer;
}

function forbid(option: string, value: unknown, why: string): undefined {
  if (value !== undefined) throw new ConfigurationError(option, why);
  return undefined;
}
