/** One of the processes of `prove:limits`: calls through a limiter as the parent says, and tells what passed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { compose, type RpcHandler, systemClock } from '@mcp-blocks/core';
import { testContext } from '@mcp-blocks/core/testing';
import { type LimitAlgorithm, type LimitStore, RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { redisLimits } from '@mcp-blocks/rate-limited-rpc/redis';
import { Redis } from 'ioredis';

/** What a process is to do with one limit. */
export interface WorkerSetting {
  readonly algorithm: LimitAlgorithm;
  readonly requests: number;
  readonly windowMs: number;
  readonly url: string;
  readonly keyPrefix: string;
  /**
   * All but `redis` are planted bugs: one looks, and then counts; one counts in each process; one lets pass what
   * Redis does not answer.
   */
  readonly store: 'redis' | 'two-steps' | 'per-process' | 'fail-open';
  readonly commandTimeoutMs: number;
  readonly insuredProcesses?: number;
  /** Limits calls in progress instead: so many at a time. What passed is then when each was in progress. */
  readonly concurrent?: number;
}

/** When a call that passed was sent and came back, in ms of a clock that all processes share. */
export type Passed = readonly [sent: number, back: number];

export type ToWorker =
  | { readonly do: 'open'; readonly setting: WorkerSetting }
  | { readonly do: 'burst'; readonly key: string; readonly calls: number }
  | { readonly do: 'hammer'; readonly key: string; readonly lanes: number }
  | { readonly do: 'stop' };

const now = () => Number(process.hrtime.bigint()) / 1e6;
const context = testContext();
let handle: RpcHandler = async () => ({});
let limiter: RateLimitedRPC | undefined;
let hammering = false;
/** When calls were in progress, where those are limited. */
let inProgress: Passed[] | undefined;

async function work(): Promise<Record<string, never>> {
  const from = now();
  await sleep(2);
  inProgress?.push([from, now()]);
  return {};
}

/** Looks and then counts, in two steps that other processes can come between. */
function twoSteps(url: string, keyPrefix: string): LimitStore {
  const client = new Redis(url);
  return {
    open: () => ({
      async charge(charges) {
        const counts = await Promise.all(charges.map(async ({ key }) => Number(await client.get(keyPrefix + key))));
        const allowed = charges.every(({ rule, cost }, index) => (counts[index] as number) + cost <= rule.requests);
        if (allowed)
          await Promise.all(
            charges.map(({ key, cost, rule }) =>
              client
                .multi()
                .incrby(keyPrefix + key, cost)
                .pexpire(keyPrefix + key, rule.windowMs, 'NX')
                .exec(),
            ),
          );
        const verdict = { allowed, used: 0, remaining: 0, resetMs: 0, retryAfterMs: allowed ? 0 : 1, receipt: 0 };
        return { allowed, verdicts: charges.map(() => verdict) };
      },
      peek: async () => [],
      refund: async () => {},
      reset: async () => 0,
      close: async () => client.disconnect(),
    }),
  };
}

/** Takes no answer for a yes. */
function failOpen(store: LimitStore): LimitStore {
  return {
    open(rules, options) {
      const counters = store.open(rules, options);
      const yes = { allowed: true, used: 0, remaining: 0, resetMs: 0, retryAfterMs: 0, receipt: 0 };
      return {
        async charge(charges) {
          try {
            return await counters.charge(charges);
          } catch {
            return { allowed: true, verdicts: charges.map(() => yes) };
          }
        },
        peek: (charges) => counters.peek(charges),
        refund: (charges) => counters.refund(charges),
        reset: (charges) => counters.reset(charges),
        close: () => counters.close(),
      };
    },
  };
}

async function open({
  algorithm,
  requests,
  windowMs,
  url,
  keyPrefix,
  store,
  commandTimeoutMs,
  insuredProcesses: processes,
  concurrent,
}: WorkerSetting) {
  await limiter?.close();
  const insurance = processes === undefined ? {} : { insurance: { processes } };
  const redis = () => redisLimits({ url, keyPrefix, commandTimeoutMs, probeIntervalMs: 50, ...insurance });
  const stores = { redis, 'two-steps': () => twoSteps(url, keyPrefix), 'per-process': undefined, 'fail-open': () => failOpen(redis()) };
  const shared = stores[store]?.();
  limiter = new RateLimitedRPC({
    limits: [
      { by: ({ params }) => params.key as string, ...(concurrent === undefined ? { algorithm, requests, windowMs } : { concurrent }) },
    ],
    ...(shared === undefined ? {} : { store: shared }),
    clock: systemClock,
  });
  inProgress = concurrent === undefined ? undefined : [];
  handle = compose(concurrent === undefined ? async () => ({}) : work, [limiter.middleware]);
}

/** Sends one call; the longest any took is kept. */
async function send(key: string, passed: Passed[], longest: { ms: number }): Promise<void> {
  const sent = now();
  let failed: unknown;
  await handle({ method: 'tools/list', params: { key } }, context).catch((error: unknown) => (failed = error));
  const back = now();
  longest.ms = Math.max(longest.ms, back - sent);
  if (failed === undefined) passed.push([sent, back]);
  else if ((failed as { code?: string }).code !== 'rate_limited') throw failed;
}

async function hammer(key: string, lanes: number) {
  const passed: Passed[] = [];
  const longest = { ms: 0 };
  let offered = 0;
  hammering = true;
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (hammering) {
        offered += 1;
        await send(key, passed, longest);
        // Refusals of the insurance need no input or output; let the others have their turn.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
  return { passed: inProgress ?? passed, offered, longestMs: longest.ms };
}

async function obey(order: ToWorker): Promise<unknown> {
  switch (order.do) {
    case 'open':
      return open(order.setting);
    case 'burst': {
      const passed: Passed[] = [];
      const longest = { ms: 0 };
      await Promise.all(Array.from({ length: order.calls }, () => send(order.key, passed, longest)));
      return { passed, offered: order.calls, longestMs: longest.ms };
    }
    case 'hammer':
      return hammer(order.key, order.lanes);
    case 'stop':
      hammering = false;
      return undefined;
  }
}

process.on('message', ({ id, order }: { id: number; order: ToWorker }) => {
  obey(order).then(
    (result) => process.send?.({ id, result }),
    (error: Error) => process.send?.({ id, error: `${error.message}: ${String(error.cause ?? '')}` }),
  );
});
process.on('disconnect', () => process.exit());
