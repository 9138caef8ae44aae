/** What has gone over one or more connections. Bytes are those of the messages, without framing. */
export interface TrafficMetrics {
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Counts {@link TrafficMetrics}. */
export class Traffic {
  #messagesIn = 0;
  #messagesOut = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  received(bytes: number): void {
    this.#messagesIn += 1;
    this.#bytesIn += bytes;
  }

  sent(bytes: number): void {
    this.#messagesOut += 1;
    this.#bytesOut += bytes;
  }

  metrics(): TrafficMetrics {
    return {
      messagesIn: this.#messagesIn,
      messagesOut: this.#messagesOut,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    };
  }
}
