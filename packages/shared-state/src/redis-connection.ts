import { RpcError } from '@mcp-blocks/core';
import type { RedisClient } from './redis-clients.js';

/** One ioredis client, used only while it is connected: nothing waits in a queue to be sent later. */
export class RedisConnection {
  readonly client: RedisClient;
  readonly #timeoutMs: number;
  #connecting: Promise<void> | undefined;

  constructor(client: RedisClient, timeoutMs: number, onError: (error: Error) => void) {
    this.client = client;
    this.#timeoutMs = timeoutMs;
    client.on('error', onError);
  }

  /**
   * Sends a command and waits for its answer.
   * @throws RpcError `unavailable` when there is no connection or no answer; the command may have run.
   */
  async run<T>(command: (client: RedisClient) => Promise<T>): Promise<T> {
    try {
      if (this.client.status !== 'ready') await this.#connected();
      return await command(this.client);
    } catch (cause) {
      throw new RpcError('unavailable', 'The state store cannot be reached', { cause });
    }
  }

  /** Ends the connection; with `graceful`, after the commands on their way are answered. */
  async end(graceful: boolean): Promise<void> {
    const { client } = this;
    if (client.status === 'end') return;
    if (client.status === 'reconnecting') {
      // Between two attempts there is nothing to end but the timer, and no event comes.
      client.disconnect();
      return;
    }
    const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
    if (graceful && client.status === 'ready') await client.quit().catch(() => {});
    client.disconnect();
    await ended;
  }

  /** Waits for the attempt under way, or the next one: one for all callers. */
  #connected(): Promise<void> {
    this.#connecting ??= this.#attempt().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  #attempt(): Promise<void> {
    const { client } = this;
    if (client.status === 'end') return Promise.reject(new Error('The connection was ended'));
    return new Promise<void>((resolve, reject) => {
      const settle = (error?: Error) => {
        clearTimeout(timer);
        client.off('ready', onReady);
        client.off('close', onClose);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onReady = () => settle();
      const onClose = () => settle(new Error('No connection'));
      const timer = setTimeout(() => settle(new Error(`No connection within ${this.#timeoutMs} ms`)), this.#timeoutMs);
      client.once('ready', onReady);
      client.once('close', onClose);
      if (client.status === 'wait') client.connect().catch(() => {});
    });
  }
}
