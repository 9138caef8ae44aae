import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import { resolvePoolOptions } from '../src/workers/worker-pool-options.js';
import type { WorkerProcess } from '../src/workers/worker-process.js';
import { WorkerSlot } from '../src/workers/worker-slot.js';

/** A worker whose life is in the test's hands. */
class HandledWorker {
  readonly index = 0;
  readonly pid = 1;
  readonly serving: Promise<void>;
  readonly ended: Promise<unknown>;
  serve = (): void => {};
  #end = (_: unknown): void => {};
  #fail = (_: Error): void => {};

  constructor() {
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.serving = new Promise((resolve, reject) => {
      this.serve = resolve;
      this.#fail = reject;
    });
    this.serving.catch(() => {});
  }

  end(): void {
    this.#fail(new Error('it ended'));
    this.#end({ index: 0, pid: 1, code: 1, signal: null, expected: false });
  }

  async drain(): Promise<boolean> {
    this.end();
    return true;
  }

  async kill(): Promise<true> {
    this.end();
    return true;
  }
}

async function startSlot() {
  const clock = new ManualClock();
  const workers: HandledWorker[] = [];
  const failures: string[] = [];
  const slot = new WorkerSlot({
    options: resolvePoolOptions({
      module: 'file:///server.js',
      clock,
      startTimeoutMs: 5_000,
      restart: { initialDelayMs: 100, maxDelayMs: 350, stableAfterMs: 10_000 },
    }),
    fork: () => {
      const worker = new HandledWorker();
      workers.push(worker);
      return worker as unknown as WorkerProcess;
    },
    serving: () => {},
    ended: () => {},
    failed: ({ message }) => failures.push(message),
  });
  const started = slot.replace();
  workers[0]?.serve();
  await started;
  return { clock, workers, failures, slot, last: () => workers.at(-1) as HandledWorker };
}

it('starts a worker that ended again after a pause that grows while it ends soon, and is short again once it was stable', async () => {
  const { clock, workers, last } = await startSlot();
  for (const pauseMs of [100, 200, 350, 350]) {
    const count = workers.length;
    last().end();
    await clock.advance(pauseMs - 1);
    expect(workers).toHaveLength(count);
    await clock.advance(1);
    expect(workers).toHaveLength(count + 1);
    last().serve();
    await settle();
  }
  await clock.advance(10_000);
  const count = workers.length;
  last().end();
  await clock.advance(100);
  expect(workers).toHaveLength(count + 1);
});

it('tries again, later each time, when a worker does not start, or does not serve in time', async () => {
  const { clock, workers, failures, last } = await startSlot();
  last().end();
  await clock.advance(100);
  last().end();
  await clock.advance(200);
  expect(workers).toHaveLength(3);
  await clock.advance(5_000 + 350);
  expect(workers).toHaveLength(4);
  expect(failures).toEqual(['it ended', 'Worker 0 did not serve within 5000 ms']);
});

it('starts nothing any more when it is closed, also while it waits', async () => {
  const { clock, workers, slot, last } = await startSlot();
  last().end();
  await settle();
  await slot.close();
  await clock.advance(100_000);
  expect(workers).toHaveLength(1);
  expect(clock.pendingTimers).toBe(0);
  await expect(slot.replace()).rejects.toThrow('The pool is closed');
});
