import { type Clock, RpcError } from '@mcp-blocks/core';
import type { Redis } from 'ioredis';
import type { RedisScript } from './scripts.js';

/** How {@link RedisCommands} reach Redis. */
export interface RedisLimitConnection {
  readonly client: Redis;
  readonly keyPrefix: string;
  readonly commandTimeoutMs: number;
  /** For the time limit of commands. */
  readonly clock: Clock;
  /** Epoch milliseconds to count by. Default: Redis' own clock, which all processes share. */
  readonly now?: () => number;
  /** Lets go of the client. */
  end(): void;
}

/** Commands to Redis, each with its time limit. */
export class RedisCommands {
  readonly #connection: RedisLimitConnection;
  #connecting: Promise<void> | undefined;
  #closed = false;

  constructor(connection: RedisLimitConnection) {
    this.#connection = connection;
  }

  get keyPrefix(): string {
    return this.#connection.keyPrefix;
  }

  /** Runs a script; its first argument is the time. @throws RpcError `unavailable`. */
  run(script: RedisScript, keys: readonly string[], rest: readonly (string | number)[]): Promise<unknown> {
    const now = this.#connection.now?.() ?? '';
    const args = [keys.length, ...keys, now, ...rest] as const;
    return this.within(async (client) => {
      try {
        return await client.evalsha(script.sha1, ...args);
      } catch (error) {
        // Redis was started anew since it last saw the script.
        if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
        return client.eval(script.lua, ...args);
      }
    });
  }

  /** @throws RpcError `unavailable`. */
  async within<T>(command: (client: Redis) => Promise<T>): Promise<T> {
    const { client, clock, commandTimeoutMs } = this.#connection;
    let cancel = () => {};
    const late = new Promise<never>((_resolve, reject) => {
      cancel = clock.setTimeout(() => reject(new Error(`No answer within ${commandTimeoutMs} ms`)), commandTimeoutMs);
    });
    try {
      const answer = (async () => {
        if (client.status !== 'ready') await this.#connected();
        return command(client);
      })();
      return await Promise.race([answer, late]);
    } catch (cause) {
      throw new RpcError('unavailable', 'The rate limits cannot be checked', { cause });
    } finally {
      cancel();
    }
  }

  /** One wait for all calls. */
  #connected(): Promise<void> {
    this.#connecting ??= attempt(this.#connection.client).finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.end();
  }
}

/** Waits for an attempt under way; between attempts there is nothing to wait for. */
function attempt(client: Redis): Promise<void> {
  if (client.status === 'wait') client.connect().catch(() => {});
  if (client.status !== 'connecting' && client.status !== 'connect') return Promise.reject(new Error('No connection to Redis'));
  return new Promise((resolve, reject) => {
    const onReady = () => {
      client.off('close', onClose);
      resolve();
    };
    const onClose = () => {
      client.off('ready', onReady);
      reject(new Error('No connection to Redis'));
    };
    client.once('ready', onReady);
    client.once('close', onClose);
  });
}
