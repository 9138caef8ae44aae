import { HandshakeState } from './handshake-state.js';
import { encodeKey } from './keys.js';
import { NoiseChannel } from './noise-channel.js';
import type { NoiseSettings } from './noise-endpoint.js';
import { NoiseError } from './noise-error.js';
import { messageSizes } from './protocol-name.js';

/** What is to be done after a handshake frame: send the reply, if there is one; use the channel, if there is one. */
export interface HandshakeStep {
  readonly reply?: Uint8Array;
  readonly channel?: NoiseChannel;
}

const EMPTY = new Uint8Array(0);

/** Version of what is agreed outside the Noise protocol: record types, greetings, closing. */
const PROLOGUE = 'mcp-blocks Noise channel 1';

/** The handshake of one connection; see {@link NoiseEndpoint}. */
export class NoiseHandshake {
  readonly #settings: NoiseSettings;
  readonly #onRekey: (frame: Uint8Array) => void;
  readonly #state: HandshakeState;
  readonly #sizes: readonly number[];
  #messages = 0;
  #isOver = false;

  constructor(settings: NoiseSettings, onRekey: (frame: Uint8Array) => void) {
    const { crypto, protocol, role, staticKey, serverKey } = settings;
    this.#settings = settings;
    this.#onRekey = onRekey;
    this.#sizes = messageSizes(protocol.pattern);
    this.#state = new HandshakeState({
      crypto,
      protocol,
      initiator: role === 'client',
      prologue: new TextEncoder().encode(`${PROLOGUE} ${protocol.name}`),
      staticKey,
      remoteStaticKey: protocol.pattern === 'XX' ? undefined : serverKey,
    });
  }

  /** The client's first frame. @throws NoiseError on a server, or the second time */
  start(): Uint8Array {
    return this.#write();
  }

  /**
   * Reads the peer's frame.
   *
   * @throws NoiseError if it is not what the peer should have sent, the same whatever was wrong. The handshake is then over.
   */
  receive(frame: Uint8Array): HandshakeStep {
    if (this.#isOver || this.#state.isTurnToWrite || frame.length !== this.#sizes[this.#messages]) throw this.#refuse();
    const knewPeer = this.#state.remoteStaticKey !== undefined;
    this.#state.readMessage(frame);
    this.#messages += 1;
    if (!knewPeer) this.#checkPeer();
    if (!this.#state.isTurnToWrite) return { channel: this.#channel() };
    const reply = this.#write();
    return this.#state.isDone ? { reply, channel: this.#channel() } : { reply };
  }

  /** Ends a handshake that nobody waits for any more: forgets its keys. */
  destroy(): void {
    this.#isOver = true;
    this.#state.destroy();
  }

  #write(): Uint8Array {
    if (this.#isOver || !this.#state.isTurnToWrite) throw this.#refuse();
    this.#messages += 1;
    return this.#state.writeMessage(EMPTY);
  }

  #checkPeer(): void {
    const { serverKey, acceptPeer } = this.#settings;
    const key = this.#peerPublicKey();
    if (key === undefined) return;
    if (serverKey !== undefined && encodeKey(serverKey) !== key) throw this.#refuse();
    // Not merely truthy, as the promise of an async function is.
    if (acceptPeer !== undefined && acceptPeer(key) !== true) throw this.#refuse();
  }

  #channel(): NoiseChannel {
    const { role, protocol, crypto, clock, maxMessageBytes, rekeyAfterMessages, keyRotationIntervalMs } = this.#settings;
    const peerPublicKey = this.#peerPublicKey();
    this.#isOver = true;
    return new NoiseChannel({
      ...this.#state.split(),
      role,
      protocol: protocol.name,
      crypto,
      clock,
      peerPublicKey,
      maxMessageBytes,
      rekeyAfterMessages,
      keyRotationIntervalMs,
      onRekey: this.#onRekey,
    });
  }

  #peerPublicKey(): string | undefined {
    const key = this.#state.remoteStaticKey;
    return key === undefined ? undefined : encodeKey(key);
  }

  #refuse(): NoiseError {
    this.destroy();
    return new NoiseError('the Noise handshake was refused: other keys, another protocol, or a damaged message');
  }
}
