import { settledWithin } from '../deadline.js';
import type { WorkerExit } from './pool-events.js';
import type { ResolvedPoolOptions } from './worker-pool-options.js';
import type { WorkerProcess } from './worker-process.js';

/** What a slot needs of its pool. */
export interface SlotHost {
  readonly options: ResolvedPoolOptions;
  fork(): WorkerProcess;
  /** A worker serves from now on. */
  serving(worker: WorkerProcess): void;
  ended(worker: WorkerProcess, exit: WorkerExit): void;
  failed(error: Error): void;
}

/** The place of one worker: there is one in it, or soon one again. */
export class WorkerSlot {
  readonly #host: SlotHost;
  /** All of them: the one that serves, one that is to take its place, one that drains. */
  readonly workers = new Set<WorkerProcess>();
  #current: WorkerProcess | undefined;
  #cancelRestart: (() => void) | undefined;
  #delayMs = 0;
  #isReplacing = false;
  #isClosed = false;

  constructor(host: SlotHost) {
    this.#host = host;
  }

  /** Starts a worker, and when it serves, drains the one that served before. @throws Error when it does not start. */
  async replace(): Promise<void> {
    if (this.#isClosed) throw new Error('The pool is closed');
    const before = this.#current;
    this.#isReplacing = true;
    this.#cancelRestart?.();
    try {
      this.#current = await this.#start();
    } catch (error) {
      if (this.#current === undefined) this.#restartLater();
      throw error;
    } finally {
      this.#isReplacing = false;
    }
    // What ended while its successor was starting needs no other one.
    if (before !== undefined) await this.#drain(before);
  }

  /** Ends them all; nothing is started any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRestart?.();
    await Promise.all([...this.workers].map((worker) => this.#drain(worker)));
  }

  async #start(): Promise<WorkerProcess> {
    const { options } = this.#host;
    const worker = this.#host.fork();
    this.workers.add(worker);
    void worker.ended.then((exit) => this.#ended(worker, exit));
    if (!(await settledWithin(worker.serving, options.startTimeoutMs, options.clock))) {
      await worker.kill();
      throw new Error(`Worker ${worker.index} did not serve within ${options.startTimeoutMs} ms`);
    }
    await worker.serving;
    this.#host.serving(worker);
    const servedAt = options.clock.now();
    void worker.ended.then(() => {
      if (options.clock.now() - servedAt >= options.restart.stableAfterMs) this.#delayMs = 0;
    });
    return worker;
  }

  async #drain(worker: WorkerProcess): Promise<void> {
    const { drainTimeoutMs } = this.#host.options;
    if (!(await worker.drain(drainTimeoutMs))) {
      this.#host.failed(new Error(`Worker ${worker.index} (process ${worker.pid}) did not end in time and was killed`));
    }
  }

  #ended(worker: WorkerProcess, exit: WorkerExit): void {
    this.workers.delete(worker);
    this.#host.ended(worker, exit);
    if (this.#current !== worker) return;
    this.#current = undefined;
    if (!this.#isReplacing) this.#restartLater();
  }

  #restartLater(): void {
    if (this.#isClosed) return;
    const { clock, restart } = this.#host.options;
    // One turn later, as whether the worker was stable is found out at its end too.
    queueMicrotask(() => {
      if (this.#isClosed || this.#isReplacing) return;
      this.#delayMs = this.#delayMs === 0 ? restart.initialDelayMs : Math.min(2 * this.#delayMs, restart.maxDelayMs);
      this.#cancelRestart?.();
      this.#cancelRestart = clock.setTimeout(() => void this.replace().catch((error: Error) => this.#host.failed(error)), this.#delayMs);
    });
  }
}
