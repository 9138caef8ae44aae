import cluster, { type Worker } from 'node:cluster';
import { type Clock, ConfigurationError, RpcError, systemClock } from '@mcp-blocks/core';
import type { LimitCounters, LimitOutcome, LimitRule, LimitStore } from '../limit-store.js';
import { MemoryLimitCounters } from '../memory-limit-store.js';

/** Options of {@link clusterLimits}. */
export interface ClusterLimitsOptions {
  /** Longest wait of a call for the primary, in milliseconds; 1 to 60,000. Default: 1,000. */
  readonly timeoutMs?: number;
}

const TAG = 'mcp-blocks.limits';

type Act = 'charge' | 'peek' | 'refund' | 'reset';

interface Question {
  readonly tag: typeof TAG;
  readonly id: number;
  readonly rules: readonly LimitRule[];
  readonly maxKeys: number;
  readonly act: Act;
  readonly charges: readonly never[];
}

interface Answer {
  readonly tag: typeof TAG;
  readonly id: number;
  readonly value?: unknown;
  readonly failed?: boolean;
}

/**
 * Keeps the counts of all workers, in the primary of a `node:cluster`. Workers with the same limits share
 * counts. The returned function ends it.
 *
 * @throws ConfigurationError in a process that is not the primary.
 */
export function serveClusterLimits({ clock = systemClock }: { readonly clock?: Clock } = {}): () => Promise<void> {
  if (!cluster.isPrimary) throw new ConfigurationError('cluster', 'expected the primary of node:cluster');
  const counters = new Map<string, MemoryLimitCounters>();
  const answer = async ({ id, rules, maxKeys, act, charges }: Question): Promise<Answer> => {
    const name = JSON.stringify([rules, maxKeys]);
    const own = counters.get(name) ?? new MemoryLimitCounters(rules, { maxKeys, clock });
    counters.set(name, own);
    try {
      return { tag: TAG, id, value: await own[act](charges) };
    } catch {
      return { tag: TAG, id, failed: true };
    }
  };
  const onMessage = (worker: Worker, message: Partial<Question> | undefined) => {
    if (message?.tag !== TAG) return;
    // The worker may be gone by now; then nobody waits for the answer.
    void answer(message as Question).then((reply) => worker.isConnected() && worker.send(reply, () => {}));
  };
  cluster.on('message', onMessage);
  return async () => {
    cluster.off('message', onMessage);
    await Promise.all([...counters.values()].map((own) => own.close()));
    counters.clear();
  };
}

/**
 * Counts in the primary, for the workers of a `node:cluster`: together they let through what one process
 * would. The primary calls {@link serveClusterLimits}. A call that gets no answer in time fails with
 * `unavailable`.
 *
 * @throws ConfigurationError when an option is out of range, or, when the limiter is made, outside a worker.
 */
export function clusterLimits({ timeoutMs = 1000 }: ClusterLimitsOptions = {}): LimitStore {
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > 60_000) {
    throw new ConfigurationError('timeoutMs', `expected an integer from 1 to 60000, got ${timeoutMs}`);
  }
  return {
    open(rules, { maxKeys }) {
      if (!cluster.isWorker) throw new ConfigurationError('store', 'clusterLimits counts for workers of node:cluster only');
      return new ClusterLimitCounters(rules, maxKeys, timeoutMs);
    },
  };
}

/** Numbers the questions of this process, whichever limiter asks: their answers come the same way. */
let asked = 0;

class ClusterLimitCounters implements LimitCounters {
  readonly #rules: readonly LimitRule[];
  readonly #maxKeys: number;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>();
  readonly #onMessage = (message: Partial<Answer> | undefined) => {
    if (message?.tag === TAG) this.#waiting.get(message.id as number)?.(message as Answer);
  };

  constructor(rules: readonly LimitRule[], maxKeys: number, timeoutMs: number) {
    this.#rules = rules;
    this.#maxKeys = maxKeys;
    this.#timeoutMs = timeoutMs;
    process.on('message', this.#onMessage);
  }

  async charge(charges: Parameters<LimitCounters['charge']>[0]): Promise<LimitOutcome> {
    const { allowed, verdicts } = (await this.#ask('charge', charges)) as LimitOutcome;
    // JSON has no Infinity and carries null instead.
    return { allowed, verdicts: verdicts.map((verdict) => ({ ...verdict, retryAfterMs: verdict.retryAfterMs ?? Infinity })) };
  }

  async peek(charges: Parameters<LimitCounters['peek']>[0]): ReturnType<LimitCounters['peek']> {
    return (await this.#ask('peek', charges)) as Awaited<ReturnType<LimitCounters['peek']>>;
  }

  async refund(charges: Parameters<LimitCounters['refund']>[0]): Promise<void> {
    await this.#ask('refund', charges);
  }

  async reset(charges: Parameters<LimitCounters['reset']>[0]): Promise<number> {
    return (await this.#ask('reset', charges)) as number;
  }

  async close(): Promise<void> {
    process.off('message', this.#onMessage);
    for (const settle of this.#waiting.values()) settle(undefined);
  }

  #ask(act: Act, charges: readonly unknown[]): Promise<unknown> {
    const id = (asked += 1);
    return new Promise((resolve, reject) => {
      const settle = (answer: Answer | undefined) => {
        cancel();
        this.#waiting.delete(id);
        if (answer !== undefined && answer.failed !== true) resolve(answer.value);
        else reject(new RpcError('unavailable', 'The rate limits cannot be checked'));
      };
      const cancel = systemClock.setTimeout(() => settle(undefined), this.#timeoutMs);
      this.#waiting.set(id, settle);
      const question = { tag: TAG, id, rules: this.#rules, maxKeys: this.#maxKeys, act, charges };
      process.send?.(question, undefined, undefined, (error: Error | null) => {
        if (error !== null) settle(undefined);
      });
    });
  }
}
