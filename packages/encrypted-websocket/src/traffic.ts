import type { NoiseChannel } from './noise/noise-channel.js';

/** What has gone over one or more connections. Bytes are those of the messages, without framing and encryption. */
export interface TrafficMetrics {
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Milliseconds spent in encrypting, with fractions. 0 without Noise, as all below. */
  readonly encryptMs: number;
  readonly decryptMs: number;
  /** Messages that could not be sealed. */
  readonly encryptErrors: number;
  /** Frames that were not what the peer had sealed. The first ends its connection. */
  readonly decryptErrors: number;
  /** Changes of the keys, of either direction. */
  readonly keyRotations: number;
}

type NoiseTotals = Pick<TrafficMetrics, 'encryptMs' | 'decryptMs' | 'encryptErrors' | 'decryptErrors' | 'keyRotations'>;

/** Counts {@link TrafficMetrics}. */
export class Traffic {
  #messagesIn = 0;
  #messagesOut = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  readonly #channels = new Set<NoiseChannel>();
  #ended: NoiseTotals = { encryptMs: 0, decryptMs: 0, encryptErrors: 0, decryptErrors: 0, keyRotations: 0 };

  received(bytes: number): void {
    this.#messagesIn += 1;
    this.#bytesIn += bytes;
  }

  sent(bytes: number): void {
    this.#messagesOut += 1;
    this.#bytesOut += bytes;
  }

  attach(channel: NoiseChannel): void {
    this.#channels.add(channel);
  }

  /** The channel has ended; what it did is kept. */
  detach(channel: NoiseChannel): void {
    if (this.#channels.delete(channel)) this.#ended = add(this.#ended, channel);
  }

  metrics(): TrafficMetrics {
    return {
      messagesIn: this.#messagesIn,
      messagesOut: this.#messagesOut,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      ...[...this.#channels].reduce(add, this.#ended),
    };
  }
}

function add(totals: NoiseTotals, channel: NoiseChannel): NoiseTotals {
  const { encryptMs, decryptMs, encryptErrors, decryptErrors, rotationsSent, rotationsReceived } = channel.metrics();
  return {
    encryptMs: totals.encryptMs + encryptMs,
    decryptMs: totals.decryptMs + decryptMs,
    encryptErrors: totals.encryptErrors + encryptErrors,
    decryptErrors: totals.decryptErrors + decryptErrors,
    keyRotations: totals.keyRotations + rotationsSent + rotationsReceived,
  };
}
