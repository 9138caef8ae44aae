import { ConfigurationError, systemClock } from '@mcp-blocks/core';
import { Redis } from 'ioredis';
import { type InsuranceOptions, InsuredCounters, insuredRules } from '../insured-counters.js';
import type { LimitRule, LimitStore } from '../limit-store.js';
import { MemoryLimitCounters } from '../memory-limit-store.js';
import { RedisCommands } from './redis-commands.js';
import { RedisLimitCounters } from './redis-limit-counters.js';

/** Options of {@link redisLimits}: either `url` or `client`. */
export interface RedisLimitsOptions {
  /** `redis://` or `rediss://` (TLS), with user, password and database number as needed. */
  readonly url?: string;
  /**
   * A client of yours, which is left open. Give it `enableOfflineQueue: false` and
   * `autoResendUnfulfilledCommands: false`, or calls of an outage are counted once more when it is over.
   */
  readonly client?: Redis;
  /**
   * Begins the name of every key. On Redis Cluster it must have a hash tag, such as `{limits}:`, since a
   * call's limits are checked in one step. Default: `mcp-blocks:limits:`.
   */
  readonly keyPrefix?: string;
  /** Longest wait of a call for Redis, in milliseconds; 1 to 60,000. Default: 250. */
  readonly commandTimeoutMs?: number;
  /** While Redis does not answer, one call in so many milliseconds asks it; 1 to 3,600,000. Default: 1,000. */
  readonly probeIntervalMs?: number;
  /**
   * Milliseconds for which the slots of a `concurrent` limit stay taken when the process that took them has died;
   * three renewals fit into it. 1,000 to 3,600,000. Default: 15,000.
   */
  readonly leaseMs?: number;
  /** Counts in each process while Redis does not answer. Default: calls fail with `unavailable`. */
  readonly insurance?: InsuranceOptions;
  /** Told of lost connections and failed attempts; the client reconnects by itself. Default: nobody is. */
  readonly onError?: (error: Error) => void;
}

/**
 * Counts in Redis 5 or later, for any number of processes. All limits of a call are checked and counted in
 * one script by Redis' own clock: together the processes let through what one would. Calls in progress are counted
 * together too, by leases.
 *
 * @throws ConfigurationError when an option is missing or out of range.
 */
export function redisLimits(options: RedisLimitsOptions): LimitStore {
  const { url, client, insurance, onError = () => {} } = options;
  if ((url === undefined) === (client === undefined)) throw new ConfigurationError('url', "expected either 'url' or 'client'");
  if (url !== undefined && !/^rediss?:\/\//.test(url)) throw new ConfigurationError('url', 'expected redis:// or rediss://');
  const commandTimeoutMs = integer('commandTimeoutMs', options.commandTimeoutMs ?? 250, 60_000);
  const probeIntervalMs = integer('probeIntervalMs', options.probeIntervalMs ?? 1000, 3_600_000);
  const leaseMs = integer('leaseMs', options.leaseMs ?? 15_000, 3_600_000, 1000);
  if (insurance !== undefined) {
    integer('insurance.processes', insurance.processes, 1_000_000);
    for (const [name, requests] of Object.entries(insurance.requests ?? {})) {
      integer(`insurance.requests.${name}`, requests, Number.MAX_SAFE_INTEGER);
    }
  }
  return {
    open(rules, { maxKeys, clock }) {
      checkNames(rules, insurance);
      const own = client ?? connect(url as string, commandTimeoutMs);
      own.on('error', onError);
      const commands = new RedisCommands({
        client: own,
        keyPrefix: options.keyPrefix ?? 'mcp-blocks:limits:',
        commandTimeoutMs,
        // A command's time limit is real time, whatever the limiter's clock.
        clock: systemClock,
        end() {
          own.off('error', onError);
          if (client !== undefined) return;
          own.on('error', () => {});
          own.disconnect();
        },
      });
      const shared = new RedisLimitCounters(commands, { leaseMs, clock: systemClock });
      const alone = insurance === undefined ? undefined : insuredRules(rules, insurance);
      const insured = alone && {
        rules: alone,
        counters: new MemoryLimitCounters(alone, { maxKeys, clock }),
        options: insurance as InsuranceOptions,
      };
      return new InsuredCounters(shared, insured, { probeIntervalMs, clock });
    },
  };
}

function connect(url: string, connectTimeout: number): Redis {
  return new Redis(url, {
    connectTimeout,
    // Nothing is sent later on behalf of a call that is over.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), 1000),
  });
}

function integer(option: string, value: number, max: number, min = 1): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new ConfigurationError(option, `expected an integer from ${min} to ${max}, got ${value}`);
}

function checkNames(rules: readonly LimitRule[], insurance: InsuranceOptions | undefined): void {
  const unknown = Object.keys(insurance?.requests ?? {}).find((name) => !rules.some((rule) => rule.name === name));
  if (unknown === undefined) return;
  throw new ConfigurationError(`insurance.requests.${unknown}`, `expected a limit's name: ${rules.map(({ name }) => name).join(', ')}`);
}
