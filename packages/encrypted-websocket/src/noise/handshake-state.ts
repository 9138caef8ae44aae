import type { CipherState } from './cipher-state.js';
import { type DhKeyPair, KEY_BYTES, type NoiseCrypto } from './noise-crypto.js';
import { NoiseError } from './noise-error.js';
import { type NoiseProtocol, PATTERNS, type Token } from './protocol-name.js';
import { SymmetricState } from './symmetric-state.js';

/** Arguments of Initialize() (Noise revision 34, section 5.3). */
export interface HandshakeStateOptions {
  readonly crypto: NoiseCrypto;
  readonly protocol: NoiseProtocol;
  readonly initiator: boolean;
  /** What both ends know and agree upon without saying it. */
  readonly prologue: Uint8Array;
  /** This end's static key, where the pattern has it show one. Stays the caller's: it is not destroyed. */
  readonly staticKey?: DhKeyPair | undefined;
  /** The responder's static key, for an initiator whose pattern presupposes it. */
  readonly remoteStaticKey?: Uint8Array | undefined;
  /** This end's ephemeral key, for test vectors only. Default: a new one, as security requires. */
  readonly ephemeralKey?: DhKeyPair | undefined;
}

/** The handshake (section 5.3): messages are written and read by turns until {@link isDone}. A failure ends it for good. */
export class HandshakeState {
  readonly #crypto: NoiseCrypto;
  readonly #initiator: boolean;
  readonly #symmetric: SymmetricState;
  readonly #messages: readonly (readonly Token[])[];
  readonly #staticKey: DhKeyPair | undefined;
  readonly #ephemeralKey: DhKeyPair | undefined;
  #ephemeral: DhKeyPair | undefined;
  #remoteStatic: Uint8Array | undefined;
  #remoteEphemeral: Uint8Array | undefined;
  #next = 0;
  #isOver = false;

  constructor({ crypto, protocol, initiator, prologue, staticKey, remoteStaticKey, ephemeralKey }: HandshakeStateOptions) {
    const { knowsResponder, messages } = PATTERNS[protocol.pattern];
    this.#crypto = crypto;
    this.#initiator = initiator;
    this.#messages = messages;
    this.#staticKey = staticKey;
    this.#remoteStatic = remoteStaticKey && new Uint8Array(remoteStaticKey);
    this.#ephemeralKey = ephemeralKey;
    this.#symmetric = new SymmetricState(crypto, protocol);
    this.#symmetric.mixHash(prologue);
    if (knowsResponder) this.#symmetric.mixHash(present(initiator ? this.#remoteStatic : staticKey?.publicKey));
  }

  /** Whether all messages have been written and read. */
  get isDone(): boolean {
    return this.#next === this.#messages.length;
  }

  /** Whether the next message is this end's to write. */
  get isTurnToWrite(): boolean {
    return !this.isDone && (this.#next % 2 === 0) === this.#initiator;
  }

  /** The peer's static key, as soon as it is known. */
  get remoteStaticKey(): Uint8Array | undefined {
    return this.#remoteStatic && new Uint8Array(this.#remoteStatic);
  }

  /** WriteMessage() */
  writeMessage(payload: Uint8Array): Uint8Array {
    if (this.#isOver || !this.isTurnToWrite) throw new NoiseError("not this end's turn to write");
    const parts: Uint8Array[] = [];
    for (const token of this.#messages[this.#next] as readonly Token[]) {
      if (token === 'e') {
        this.#ephemeral = this.#ephemeralKey ?? this.#crypto.generateKeyPair();
        this.#symmetric.mixHash(this.#ephemeral.publicKey);
        parts.push(this.#ephemeral.publicKey);
      } else if (token === 's') parts.push(this.#symmetric.encryptAndHash(present(this.#staticKey).publicKey));
      else this.#mixDh(token);
    }
    parts.push(this.#symmetric.encryptAndHash(payload));
    this.#next += 1;
    const message = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      message.set(part, at);
      at += part.length;
    }
    return message;
  }

  /**
   * ReadMessage(): the payload.
   *
   * @throws NoiseError if the message is not what the peer should have sent. The handshake is then over.
   */
  readMessage(message: Uint8Array): Uint8Array {
    if (this.#isOver || this.isDone || this.isTurnToWrite) throw new NoiseError("not the peer's turn to write");
    let at = 0;
    const take = (length: number): Uint8Array => {
      if (at + length > message.length) throw this.#refuse();
      return new Uint8Array(message.subarray(at, (at += length)));
    };
    for (const token of this.#messages[this.#next] as readonly Token[]) {
      if (token === 'e') {
        this.#remoteEphemeral = take(KEY_BYTES);
        this.#symmetric.mixHash(this.#remoteEphemeral);
      } else if (token === 's') {
        this.#remoteStatic = this.#symmetric.decryptAndHash(take(KEY_BYTES + this.#symmetric.tagBytes)) ?? this.#fail();
      } else this.#mixDh(token);
    }
    const payload = this.#symmetric.decryptAndHash(message.subarray(at)) ?? this.#fail();
    this.#next += 1;
    return payload;
  }

  /** Split() of a handshake that is done: what this end sends with, what it receives with, and h. The handshake's keys are forgotten. */
  split(): { send: CipherState; receive: CipherState; handshakeHash: Uint8Array } {
    if (this.#isOver || !this.isDone) throw new NoiseError('the handshake is not done');
    const handshakeHash = this.#symmetric.handshakeHash;
    const [first, second] = this.#symmetric.split();
    this.destroy();
    return this.#initiator ? { send: first, receive: second, handshakeHash } : { send: second, receive: first, handshakeHash };
  }

  /** Forgets all keys but the static one, which is the caller's. */
  destroy(): void {
    this.#isOver = true;
    this.#ephemeral?.destroy();
    this.#ephemeral = undefined;
    this.#symmetric.destroy();
  }

  /** Tokens name the initiator's key first: `es` is the initiator's ephemeral with the responder's static key. */
  #mixDh(token: Token): void {
    const [own, remote] = this.#initiator ? [token[0], token[1]] : [token[1], token[0]];
    const pair = present(own === 'e' ? this.#ephemeral : this.#staticKey);
    const shared = pair.dh(present(remote === 'e' ? this.#remoteEphemeral : this.#remoteStatic)) ?? this.#fail();
    this.#symmetric.mixKey(shared);
  }

  #fail(): never {
    throw this.#refuse();
  }

  #refuse(): NoiseError {
    this.destroy();
    return new NoiseError('the Noise handshake was refused: other keys, another protocol, or a damaged message');
  }
}

/** A key that the pattern guarantees; {@link HandshakeStateOptions} lacking it is a bug of ours. */
function present<T>(key: T | undefined): T {
  if (key === undefined) throw new TypeError('the handshake pattern needs a key that was not given');
  return key;
}
