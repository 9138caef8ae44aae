import { type Clock, RpcError } from '@mcp-blocks/core';
import type { Redis } from 'ioredis';
import type { LimitUse, LimitVerdict } from '../algorithms/limiter.js';
import type { LimitCharge, LimitCounters, LimitOutcome, PaidCharge } from '../limit-store.js';
import { CHARGE, REFUND, type RedisScript } from './scripts.js';

/** How {@link RedisLimitCounters} reaches Redis. */
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

const NUMBERS_PER_LIMIT = 5;

/** Counts in Redis, for all processes that use it. Every check is one script, so it is seen whole or not at all. */
export class RedisLimitCounters implements LimitCounters {
  readonly #connection: RedisLimitConnection;
  #connecting: Promise<void> | undefined;
  #closed = false;

  constructor(connection: RedisLimitConnection) {
    this.#connection = connection;
  }

  charge(charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    return this.#look('charge', charges);
  }

  async peek(charges: readonly LimitCharge[]): Promise<readonly LimitUse[]> {
    return charges.length === 0 ? [] : (await this.#look('peek', charges)).verdicts;
  }

  async refund(charges: readonly PaidCharge[]): Promise<void> {
    await this.#run(
      REFUND,
      charges,
      [],
      charges.map(({ rule, cost, receipt }) => [rule.algorithm, cost, receipt]),
    );
  }

  async reset(charges: readonly LimitCharge[]): Promise<number> {
    if (charges.length === 0) return 0;
    return this.#within((client) => client.del(...charges.map((charge) => this.#keyOf(charge))));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.end();
  }

  async #look(mode: 'charge' | 'peek', charges: readonly LimitCharge[]): Promise<LimitOutcome> {
    const perLimit = charges.map(({ rule, cost }) => [rule.algorithm, rule.requests, rule.windowMs, rule.burst, cost]);
    const [allowed, ...numbers] = (await this.#run(CHARGE, charges, [mode], perLimit)) as number[];
    const verdicts = charges.map((_charge, index): LimitVerdict => {
      const at = index * NUMBERS_PER_LIMIT;
      const [used, remaining, resetMs, retry, receipt] = numbers.slice(at, at + NUMBERS_PER_LIMIT) as [
        number,
        number,
        number,
        number,
        number,
      ];
      return { allowed: retry === 0, used, remaining, resetMs, retryAfterMs: retry === -1 ? Infinity : retry, receipt };
    });
    return { allowed: allowed === 1, verdicts };
  }

  #run(script: RedisScript, charges: readonly LimitCharge[], general: readonly string[], perLimit: readonly (string | number)[][]) {
    const keys = charges.map((charge) => this.#keyOf(charge));
    const now = this.#connection.now?.() ?? '';
    const args = [keys.length, ...keys, now, ...general, ...perLimit.flat()] as const;
    return this.#within(async (client) => {
      try {
        return await client.evalsha(script.sha1, ...args);
      } catch (error) {
        // Redis was started anew since it last saw the script.
        if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
        return client.eval(script.lua, ...args);
      }
    });
  }

  /** Nothing else may be under a key: what is counted how is part of its name. */
  #keyOf({ rule, key }: LimitCharge): string {
    return `${this.#connection.keyPrefix}${rule.name}:${rule.algorithm}:${rule.windowMs}:${key}`;
  }

  async #within<T>(command: (client: Redis) => Promise<T>): Promise<T> {
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
