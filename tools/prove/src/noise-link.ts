import { ManualClock } from '@mcp-blocks/core/testing';
import { CipherState, NoiseChannel, type NoiseCipher, type NoiseCrypto, NoiseError } from '@mcp-blocks/encrypted-websocket/noise';

/** A bug planted into what channels and handshakes are made of. */
export interface Fault {
  readonly name: string;
  /** What the cryptographic library becomes. */
  readonly crypto?: (crypto: NoiseCrypto) => NoiseCrypto;
  /** Whether only the receiving end has that library. */
  readonly atReceiverOnly?: boolean;
  /** What the keys of a channel become. */
  readonly keys?: (keys: ChannelKeys) => ChannelKeys;
}

/** The keys of the two directions. */
export interface ChannelKeys {
  readonly toReceiver: Uint8Array;
  readonly toSender: Uint8Array;
}

/** What came of a frame. */
export type Verdict = 'refused' | 'accepted' | 'crashed';

/** Below what a link accepts as a message, so that there are some above. */
export const MAX_MESSAGE_BYTES = 150_000;

export interface LinkOptions {
  readonly below: (limit: number) => number;
  readonly cipher: NoiseCipher;
  readonly crypto: { readonly sender: NoiseCrypto; readonly receiver: NoiseCrypto };
  readonly fault: Fault | undefined;
}

const clock = new ManualClock();
const PROTOCOLS = { AESGCM: 'Noise_NK_25519_AESGCM_SHA256', ChaChaPoly: 'Noise_NK_25519_ChaChaPoly_SHA256' } as const;

/** A sending channel and the receiving one that is attacked; either may be the client's. */
export class Link {
  readonly senderRole: 'client' | 'server';
  readonly sender: NoiseChannel;
  readonly receiver: NoiseChannel;
  /** The sender's cipher state itself: for a peer that has the keys and breaks the rules. */
  readonly senderState: CipherState;
  /** Frames that the receiver has accepted. */
  readonly delivered: Uint8Array[] = [];
  readonly below: (limit: number) => number;

  constructor({ below, cipher, crypto, fault }: LinkOptions) {
    this.below = below;
    this.senderRole = below(2) === 0 ? 'client' : 'server';
    const honest = { toReceiver: this.randomBytes(32), toSender: this.randomBytes(32) };
    const { toReceiver, toSender } = fault?.keys?.(honest) ?? honest;
    const receiverCrypto = fault?.crypto?.(crypto.receiver) ?? crypto.receiver;
    const senderCrypto = fault?.atReceiverOnly === true ? crypto.sender : (fault?.crypto?.(crypto.sender) ?? crypto.sender);
    this.senderState = new CipherState(senderCrypto, cipher, toReceiver);
    const shared = {
      protocol: PROTOCOLS[cipher],
      clock,
      handshakeHash: new Uint8Array(32),
      maxMessageBytes: MAX_MESSAGE_BYTES,
      keyRotationIntervalMs: 0,
      onRekey: () => {},
    };
    this.sender = new NoiseChannel({
      ...shared,
      role: this.senderRole,
      crypto: senderCrypto,
      send: this.senderState,
      receive: new CipherState(senderCrypto, cipher, toSender),
      rekeyAfterMessages: 1 + below(8),
    });
    this.receiver = new NoiseChannel({
      ...shared,
      role: this.senderRole === 'client' ? 'server' : 'client',
      crypto: receiverCrypto,
      send: new CipherState(receiverCrypto, cipher, toSender),
      receive: new CipherState(receiverCrypto, cipher, toReceiver),
      rekeyAfterMessages: 1 + below(8),
    });
  }

  get greeting(): 'hello' | 'welcome' {
    return this.senderRole === 'client' ? 'hello' : 'welcome';
  }

  get answer(): 'hello' | 'welcome' {
    return this.senderRole === 'client' ? 'welcome' : 'hello';
  }

  /** The greeting and a few messages; an honest receiver accepts them all. */
  warmUp(): void {
    this.deliver(this.sender.seal(this.randomBytes(this.below(40)), this.greeting));
    for (let left = this.below(4); left > 0; left -= 1) this.deliver(this.next());
  }

  /** Has the receiver open what the sender sealed. */
  deliver(frame: Uint8Array): void {
    this.receiver.open(frame);
    this.delivered.push(frame);
  }

  /** Seals an honest message: most are small, some take several records, some fill records exactly. */
  next(): Uint8Array {
    const sort = this.below(200);
    if (sort === 0) return this.sender.seal(this.randomBytes(65_518 * (1 + this.below(2))));
    return this.sender.seal(this.randomBytes(sort === 1 ? 65_000 + this.below(80_000) : this.below(120)));
  }

  /** A record of any content under the sender's present key. */
  raw(...plaintext: readonly (number | Uint8Array)[]): Uint8Array {
    const parts = plaintext.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : part));
    const record = Buffer.concat([...parts, new Uint8Array(16)]);
    this.senderState.encrypt(new Uint8Array(0), record, 0, record.length - 16);
    return record;
  }

  randomBytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < Math.min(length, 64); at += 1) bytes[at] = this.below(256);
    return bytes;
  }

  /** What the receiver makes of a frame that it must refuse; it must then refuse everything, with no more than that one error. */
  offer(frame: Uint8Array): Verdict {
    const verdict = verdictOf(() => this.receiver.open(frame));
    if (verdict !== 'refused') return verdict;
    return verdictOf(() => this.receiver.open(this.raw(1)));
  }
}

let refusal: string | undefined;

/** Refused is what throws a {@link NoiseError} of always the same text; anything else thrown is a crash. */
function verdictOf(open: () => unknown): Verdict {
  try {
    open();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof NoiseError)) return 'crashed';
    refusal ??= error.message;
    return error.message === refusal ? 'refused' : 'crashed';
  }
}
