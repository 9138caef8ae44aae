import type { CancelTimer, Clock } from '@mcp-blocks/core';
import type { CipherState } from './cipher-state.js';
import type { NoiseCrypto } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';
import type { NoiseProtocolName } from './protocol-name.js';
import {
  decodeClose,
  encodeClose,
  frameBytesOf,
  MAX_CONTENT_BYTES,
  MAX_RECORD_BYTES,
  type NoiseClose,
  RECORD_OVERHEAD_BYTES,
  RECORD_TYPES,
  recordsOf,
} from './records.js';

/** What a channel is made of. */
export interface NoiseChannelOptions {
  readonly role: 'client' | 'server';
  readonly protocol: NoiseProtocolName;
  readonly crypto: NoiseCrypto;
  readonly clock: Clock;
  /** The states that the handshake was split into; they become the channel's. */
  readonly send: CipherState;
  readonly receive: CipherState;
  readonly handshakeHash: Uint8Array;
  /** The peer's static public key in base64url, where the handshake showed it. */
  readonly peerPublicKey?: string | undefined;
  /** Bytes of the largest message that is accepted. */
  readonly maxMessageBytes: number;
  /** Records after which the sending key changes. */
  readonly rekeyAfterMessages: number;
  /** Milliseconds after which a sending key that has been used changes; 0: never. */
  readonly keyRotationIntervalMs: number;
  /** Is given, when that time has come, the frame that tells the peer; it is to be sent before anything that is sealed later. */
  readonly onRekey: (frame: Uint8Array) => void;
}

/** What a frame held. `rekey` is for information only: the channel has already followed. */
export type NoiseEvent =
  | { readonly kind: 'message' | 'hello' | 'welcome'; readonly bytes: Uint8Array }
  | { readonly kind: 'rekey' }
  | ({ readonly kind: 'close' } & NoiseClose);

/** Counts of a {@link NoiseChannel} since it was made. */
export interface NoiseMetrics {
  /** Records encrypted; a message takes one for each started 65,518 bytes. */
  readonly encryptions: number;
  readonly decryptions: number;
  /** Calls that were refused because the channel was over or the order of records did not allow them. */
  readonly encryptErrors: number;
  /** Frames refused: at most the one that ended the channel, and those offered afterwards. */
  readonly decryptErrors: number;
  /** Milliseconds spent in sealing, with fractions. */
  readonly encryptMs: number;
  /** Milliseconds spent in opening, with fractions. */
  readonly decryptMs: number;
  /** How often this end's sending key has changed: its epoch. */
  readonly rotationsSent: number;
  /** How often the peer's sending key has changed. */
  readonly rotationsReceived: number;
}

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();

/**
 * Messages sealed under the keys of a Noise handshake. A sealed message is one *frame*, to be sent as one
 * binary WebSocket frame: records of at most 65,535 bytes, all but the last of full size, each a Noise
 * transport message whose plaintext begins with its type. The client's first frame is its hello, the server's
 * its welcome; either may be a close instead, after which an end seals nothing more.
 *
 * Frames must arrive as they were sealed, each once and in order, which TCP sees to. Whatever else arrives
 * (changed, cut, joined, repeated, out of turn, from another channel) ends the channel with a
 * {@link NoiseError}, always the same: the caller then cuts the connection and tells the peer nothing.
 * Frames have to be *sent* in the order in which they were sealed, too.
 *
 * Each end changes its own sending key (Rekey(), revision 34, section 11.3) after `rekeyAfterMessages` and
 * `keyRotationIntervalMs`, says so in the last record under the old key, and so loses nothing that is under way.
 *
 * Everything a channel carries has forward secrecy: its keys come of two ephemeral ones that are gone by then,
 * and an old key cannot be had from a newer one. The exception is before the channel: with IK the client's
 * public key, its name, is readable for whoever comes by the server's private key later.
 */
export class NoiseChannel {
  /** The Noise protocol's name. */
  readonly algorithm: NoiseProtocolName;
  readonly forwardSecrecy = true;
  /**
   * The peer's static public key in base64url; undefined for a client of NK. Proven by the handshake, except for
   * a client of IK: its only handshake message could be an old one sent again, so that its key is proven once the
   * hello has been opened, and nothing should be done in its name before.
   */
  readonly peerPublicKey: string | undefined;
  readonly #options: NoiseChannelOptions;
  readonly #metrics = {
    encryptions: 0,
    decryptions: 0,
    encryptErrors: 0,
    decryptErrors: 0,
    encryptMs: 0,
    decryptMs: 0,
    rotationsSent: 0,
    rotationsReceived: 0,
  };
  /** Records sealed under the present key. */
  #sealedUnderKey = 0;
  #hasSealedGreeting = false;
  #hasOpenedGreeting = false;
  #hasSealedClose = false;
  #hasOpenedClose = false;
  #isDestroyed = false;
  #cancelTimer: CancelTimer | undefined;

  constructor(options: NoiseChannelOptions) {
    this.#options = options;
    this.algorithm = options.protocol;
    this.peerPublicKey = options.peerPublicKey;
    if (options.keyRotationIntervalMs > 0) this.#startTimer();
  }

  /** The handshake's hash: the same 32 bytes at both ends of this channel and nowhere else. Not secret. */
  get handshakeHash(): Uint8Array {
    return new Uint8Array(this.#options.handshakeHash);
  }

  /** A name for the keys in use, the same at both ends when nothing is under way: a part of the handshake's hash, the client's epoch, the server's. */
  get keyId(): string {
    const { handshakeHash, role } = this.#options;
    const { rotationsSent, rotationsReceived } = this.#metrics;
    const epochs = role === 'client' ? [rotationsSent, rotationsReceived] : [rotationsReceived, rotationsSent];
    const channel = Array.from(handshakeHash.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
    return `${channel}-${epochs.join('-')}`;
  }

  /** Whether the channel is over: destroyed, or ended by a frame that was refused. */
  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  metrics(): NoiseMetrics {
    return { ...this.#metrics };
  }

  /**
   * The frame that carries a message, or the client's `hello` or the server's `welcome`, which come first and once.
   *
   * @throws NoiseError if the channel is over, or `data` is out of turn, or a greeting of more than 65,518 bytes.
   */
  seal(data: Uint8Array | string, kind: 'message' | 'hello' | 'welcome' = 'message'): Uint8Array {
    const content = typeof data === 'string' ? encoder.encode(data) : data;
    if (kind === 'message') {
      if (!this.#hasSealedGreeting) throw this.#misuse('a message before the hello or welcome');
      return this.#seal(RECORD_TYPES.message, content);
    }
    if (kind !== greetingOf(this.#options.role)) throw this.#misuse(`a ${kind} from the ${this.#options.role}`);
    if (this.#hasSealedGreeting) throw this.#misuse(`a second ${kind}`);
    if (content.length > MAX_CONTENT_BYTES) throw this.#misuse(`a ${kind} of more than ${MAX_CONTENT_BYTES} bytes`);
    const frame = this.#seal(RECORD_TYPES[kind], content);
    this.#hasSealedGreeting = true;
    return frame;
  }

  /**
   * The frame that announces the end; nothing can be sealed after it, while the peer's frames can still be
   * opened. A WebSocket close frame proves nothing, since anyone in between can send one; this one does.
   *
   * @throws NoiseError if the channel is over
   * @throws RangeError unless `code` is from 1000 to 4999 and `reason` at most 123 bytes of UTF-8
   */
  sealClose(code: number, reason: string): Uint8Array {
    const frame = this.#seal(RECORD_TYPES.close, encodeClose({ code, reason }));
    this.#hasSealedClose = true;
    this.#stopTimer();
    return frame;
  }

  /**
   * Changes the sending key now: the frame that tells the peer.
   *
   * @throws NoiseError if the channel is over, or nothing was sealed yet
   */
  rotate(): Uint8Array {
    if (!this.#hasSealedGreeting) throw this.#misuse('a rotation before the hello or welcome');
    const frame = this.#seal(RECORD_TYPES.rekey, EMPTY);
    this.#rekeySending();
    return frame;
  }

  /**
   * What a frame holds. The bytes are the caller's.
   *
   * @throws NoiseError if the frame is not the one the peer sealed next. The channel is then over.
   */
  open(frame: Uint8Array): NoiseEvent {
    // Time that the processor took, which no injected clock can know.
    const startedAt = performance.now();
    let event: NoiseEvent | undefined;
    try {
      if (!this.#isDestroyed) event = this.#open(frame);
    } finally {
      // Also for what nobody has foreseen: a channel that has failed to read a frame never goes on.
      if (event === undefined) this.destroy();
      this.#metrics.decryptMs += performance.now() - startedAt;
    }
    if (event !== undefined) return event;
    this.#metrics.decryptErrors += 1;
    throw new NoiseError('the frame was refused, and the Noise channel is over');
  }

  /** Ends the channel: forgets the keys, stops the timer. */
  destroy(): void {
    this.#isDestroyed = true;
    this.#stopTimer();
    this.#options.send.destroy();
    this.#options.receive.destroy();
  }

  #seal(type: number, content: Uint8Array): Uint8Array {
    if (this.#isDestroyed || this.#hasSealedClose) throw this.#misuse('a record after the end');
    const startedAt = performance.now();
    const { crypto, send, rekeyAfterMessages } = this.#options;
    const records = recordsOf(content.length);
    const isRekeyDue = type === RECORD_TYPES.message && this.#sealedUnderKey + records >= rekeyAfterMessages;
    const frame = crypto.allocate(frameBytesOf(content.length));
    let at = 0;
    for (let start = 0, left = records; left > 0; start += MAX_CONTENT_BYTES, left -= 1) {
      const part = left === 1 && start === 0 ? content : content.subarray(start, start + MAX_CONTENT_BYTES);
      frame[at] = left > 1 ? RECORD_TYPES.more : isRekeyDue ? RECORD_TYPES.messageThenRekey : type;
      frame.set(part, at + 1);
      send.encrypt(EMPTY, frame, at, 1 + part.length);
      at += RECORD_OVERHEAD_BYTES + part.length;
    }
    this.#sealedUnderKey += records;
    this.#metrics.encryptions += records;
    if (isRekeyDue) this.#rekeySending();
    this.#metrics.encryptMs += performance.now() - startedAt;
    return frame;
  }

  /** Undefined if the frame is refused. */
  #open(frame: Uint8Array): NoiseEvent | undefined {
    if (this.#hasOpenedClose) return undefined;
    const records = Math.ceil(frame.length / MAX_RECORD_BYTES);
    if (records <= 1) {
      const record = this.#decrypt(frame);
      return record === undefined ? undefined : this.#accept(record[0], record.subarray(1));
    }
    const messageBytes = frame.length - records * RECORD_OVERHEAD_BYTES;
    if (messageBytes > this.#options.maxMessageBytes) return undefined;
    // What is too short for a record is not in the sum either, so that the parts before it would not fit.
    if (frame.length - (records - 1) * MAX_RECORD_BYTES < RECORD_OVERHEAD_BYTES) return undefined;
    const message = this.#options.crypto.allocate(messageBytes);
    let at = 0;
    for (let start = 0; ; start += MAX_RECORD_BYTES) {
      const record = this.#decrypt(frame.subarray(start, start + MAX_RECORD_BYTES));
      if (record === undefined) return undefined;
      message.set(record.subarray(1), at);
      at += record.length - 1;
      const type = record[0];
      if (start + MAX_RECORD_BYTES >= frame.length) return isMessage(type) ? this.#accept(type, message) : undefined;
      if (type !== RECORD_TYPES.more) return undefined;
    }
  }

  #decrypt(record: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#options.receive.decrypt(EMPTY, record);
    if (plaintext === undefined || plaintext.length === 0) return undefined;
    this.#metrics.decryptions += 1;
    return plaintext;
  }

  /** What a whole frame says, if its type is allowed now. */
  #accept(type: number | undefined, bytes: Uint8Array): NoiseEvent | undefined {
    if (type === RECORD_TYPES.close) {
      const close = decodeClose(bytes);
      if (close === undefined) return undefined;
      this.#hasOpenedClose = true;
      return { kind: 'close', ...close };
    }
    if (!this.#hasOpenedGreeting) {
      const kind = greetingOf(this.#options.role === 'client' ? 'server' : 'client');
      if (type !== RECORD_TYPES[kind]) return undefined;
      this.#hasOpenedGreeting = true;
      return { kind, bytes };
    }
    if (isMessage(type)) {
      if (bytes.length > this.#options.maxMessageBytes) return undefined;
      if (type === RECORD_TYPES.messageThenRekey) this.#rekeyReceiving();
      return { kind: 'message', bytes };
    }
    if (type !== RECORD_TYPES.rekey || bytes.length > 0) return undefined;
    this.#rekeyReceiving();
    return { kind: 'rekey' };
  }

  #rekeySending(): void {
    this.#options.send.rekey();
    this.#sealedUnderKey = 0;
    this.#metrics.rotationsSent += 1;
  }

  #rekeyReceiving(): void {
    this.#options.receive.rekey();
    this.#metrics.rotationsReceived += 1;
  }

  #startTimer(): void {
    const { clock, keyRotationIntervalMs, onRekey } = this.#options;
    this.#cancelTimer = clock.setTimeout(() => {
      this.#startTimer();
      // Between its hello and the welcome a client has nothing to say.
      if (this.#hasOpenedGreeting && this.#sealedUnderKey > 0) onRekey(this.rotate());
    }, keyRotationIntervalMs);
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #misuse(what: string): NoiseError {
    this.#metrics.encryptErrors += 1;
    return new NoiseError(`the Noise channel cannot seal ${what}`);
  }
}

function greetingOf(role: 'client' | 'server'): 'hello' | 'welcome' {
  return role === 'client' ? 'hello' : 'welcome';
}

function isMessage(type: number | undefined): boolean {
  return type === RECORD_TYPES.message || type === RECORD_TYPES.messageThenRekey;
}
