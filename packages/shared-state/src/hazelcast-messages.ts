import type { JsonValue } from '@mcp-blocks/core';
import { OverflowPolicy } from 'hazelcast-client';
import type { HazelcastConnection } from './hazelcast-connection.js';

/** Somebody on a channel, and the first message of the buffer that is new to them. */
interface Subscriber {
  readonly from: number;
  readonly deliver: (text: string) => void;
}

const BATCH = 100;
const PAUSE_MS = 100;

/**
 * Messages in one ring buffer, which every process that has had a subscriber reads from where it stands. A reader who
 * falls a whole buffer behind, 10,000 messages unless Hazelcast is configured otherwise, misses what was written over.
 */
export class HazelcastMessages {
  readonly #connection: HazelcastConnection;
  readonly #channels = new Map<string, Set<Subscriber>>();
  #isClosed = false;
  #isReading = false;

  constructor(connection: HazelcastConnection) {
    this.#connection = connection;
  }

  async publish(channel: string, text: string): Promise<void> {
    await this.#connection.withMessages((messages) => messages.add(JSON.stringify([channel, text]), OverflowPolicy.OVERWRITE));
  }

  async subscribe(channel: string, listener: (message: JsonValue) => void): Promise<() => Promise<void>> {
    const from = (await this.#connection.withMessages((messages) => messages.tailSequence())).toNumber() + 1;
    const subscriber = { from, deliver: (text: string) => listener(JSON.parse(text) as JsonValue) };
    const subscribers = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, subscribers.add(subscriber));
    if (!this.#isReading) void this.#read(from);
    return async () => {
      subscribers.delete(subscriber);
      if (subscribers.size === 0 && this.#channels.get(channel) === subscribers) this.#channels.delete(channel);
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#channels.clear();
  }

  /** To the end of the store: a request waits in Hazelcast until there is a message. */
  async #read(start: number): Promise<void> {
    this.#isReading = true;
    let next = start;
    while (!this.#isClosed) {
      try {
        const messages = await this.#connection.messages();
        const found = await messages.readMany(next, 1, BATCH);
        next = found.getNextSequenceToReadFrom().toNumber();
        const first = next - found.size();
        for (let index = 0; index < found.size(); index += 1) this.#deliver(found.get(index), first + index);
      } catch {
        if (this.#isClosed) return;
        // No message for a while, or no connection; or a cluster that began anew, whose buffer is shorter.
        const tail = await this.#connection.withMessages((messages) => messages.tailSequence()).catch(() => undefined);
        if (tail === undefined) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
        else next = Math.min(next, tail.toNumber() + 1);
      }
    }
  }

  #deliver(message: string, sequence: number): void {
    const [channel, text] = JSON.parse(message) as [string, string];
    const subscribers = this.#channels.get(channel);
    for (const subscriber of [...(subscribers ?? [])]) {
      if (sequence < subscriber.from || !subscribers?.has(subscriber)) continue;
      try {
        subscriber.deliver(text);
      } catch {
        // A listener's failure is its own.
      }
    }
  }
}
