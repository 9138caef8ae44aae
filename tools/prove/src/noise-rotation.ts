import { ManualClock } from '@mcp-blocks/core/testing';
import { type NoiseChannel, type NoiseCrypto, NoiseEndpoint, newNoiseKeyPair } from '@mcp-blocks/encrypted-websocket/noise';
import type { Fault } from './noise-link.ts';

/** What a run of {@link rotate} saw. */
export interface RotationResult {
  /** Messages that arrived whole and in order, both directions together. */
  readonly arrived: number;
  /** Changes of key, both directions together. */
  readonly rotations: number;
  /** The most frames under way at once. */
  readonly mostUnderWay: number;
  readonly failure: string | undefined;
}

const MESSAGES_PER_KEY = 100;
const MOST_UNDER_WAY = 300;

/**
 * Sends `messages` each way between two channels that change keys every 100 messages, and now and then out of
 * turn, while up to 300 frames are under way each way.
 */
export function rotate(messages: number, below: (limit: number) => number, crypto: NoiseCrypto, fault?: Fault): RotationResult {
  const ends = connect(crypto, fault?.crypto?.(crypto) ?? crypto, fault?.atReceiverOnly === true);
  const ways = [new Way(ends.client, ends.server, messages), new Way(ends.server, ends.client, messages)] as const;
  let mostUnderWay = 0;
  let failure: string | undefined;
  try {
    while (ways.some((way) => !way.isDone)) {
      const way = ways[below(2)] as Way;
      // Bursts, so that keys change on one end while much is still under way.
      for (let left = 1 + below(120); left > 0; left -= 1) {
        if (below(2) === 0) way.send(below(100) === 0 ? 60_000 + below(20_000) : below(60), below(500) === 0);
        else way.receive();
      }
      mostUnderWay = Math.max(mostUnderWay, way.underWay);
    }
  } catch (error) {
    failure = String(error);
  }
  const { rotationsSent, rotationsReceived } = ends.client.metrics();
  ends.client.destroy();
  ends.server.destroy();
  return { arrived: ways[0].arrived + ways[1].arrived, rotations: rotationsSent + rotationsReceived, mostUnderWay, failure };
}

function connect(crypto: NoiseCrypto, faulty: NoiseCrypto, atOneEnd: boolean): { client: NoiseChannel; server: NoiseChannel } {
  const protocol = 'Noise_NK_25519_AESGCM_SHA256';
  const keys = newNoiseKeyPair(crypto);
  const common = { clock: new ManualClock(), maxMessageBytes: 1_000_000 };
  const options = { protocol, rekeyAfterMessages: MESSAGES_PER_KEY, keyRotationIntervalMs: 0 } as const;
  const client = new NoiseEndpoint(
    'client',
    { ...options, serverPublicKey: keys.publicKey },
    { ...common, crypto: atOneEnd ? crypto : faulty },
  );
  const server = new NoiseEndpoint('server', { ...options, privateKey: keys.privateKey }, { ...common, crypto: faulty });
  const begun = client.handshake(() => {});
  const { reply, channel: serverChannel } = server.handshake(() => {}).receive(begun.start());
  const clientChannel = reply && begun.receive(reply).channel;
  if (clientChannel === undefined || serverChannel === undefined) throw new Error('an NK handshake takes two messages');
  serverChannel.open(clientChannel.seal('{}', 'hello'));
  clientChannel.open(serverChannel.seal('{}', 'welcome'));
  return { client: clientChannel, server: serverChannel };
}

/** One direction. Each message begins with its number and is filled with the number's last byte. */
class Way {
  arrived = 0;
  readonly #from: NoiseChannel;
  readonly #to: NoiseChannel;
  readonly #messages: number;
  readonly #frames: Uint8Array[] = [];
  readonly #sizes: number[] = [];
  #sent = 0;
  #read = 0;

  constructor(from: NoiseChannel, to: NoiseChannel, messages: number) {
    this.#from = from;
    this.#to = to;
    this.#messages = messages;
  }

  get isDone(): boolean {
    return this.arrived === this.#messages && this.#read === this.#frames.length;
  }

  get underWay(): number {
    return this.#frames.length - this.#read;
  }

  send(extraBytes: number, isRotation: boolean): void {
    if (this.#sent === this.#messages || this.underWay >= MOST_UNDER_WAY) {
      this.receive();
      return;
    }
    if (isRotation) this.#frames.push(this.#from.rotate());
    const message = new Uint8Array(4 + extraBytes).fill(this.#sent);
    new DataView(message.buffer).setUint32(0, this.#sent);
    this.#frames.push(this.#from.seal(message));
    this.#sizes.push(message.length);
    this.#sent += 1;
  }

  receive(): void {
    const frame = this.#frames[this.#read];
    if (frame === undefined) return;
    this.#frames[this.#read] = new Uint8Array(0);
    this.#read += 1;
    const event = this.#to.open(frame);
    if (event.kind === 'rekey') return;
    if (event.kind !== 'message') throw new Error(`a ${event.kind} instead of message ${this.arrived}`);
    const { buffer, byteOffset, length } = event.bytes;
    const number = new DataView(buffer, byteOffset).getUint32(0);
    if (number !== this.arrived || length !== this.#sizes[number])
      throw new Error(`message ${number} of ${length} bytes instead of ${this.arrived}`);
    if (event.bytes.subarray(4).some((byte) => byte !== (number & 0xff))) throw new Error(`message ${number} is damaged`);
    this.arrived += 1;
  }
}
