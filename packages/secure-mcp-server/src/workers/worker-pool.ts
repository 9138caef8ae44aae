import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { ConfigurationError, Events } from '@mcp-blocks/core';
import type { WorkerOrders } from './messages.js';
import type { WorkerExit, WorkerPoolEvents, WorkerReport } from './pool-events.js';
import { PoolFigures } from './pool-figures.js';
import { StatusServer } from './status-server.js';
import { type ResolvedPoolOptions, resolvePoolOptions, type WorkerPoolOptions } from './worker-pool-options.js';
import { WorkerProcess } from './worker-process.js';
import { WorkerSlot } from './worker-slot.js';

const PROGRAM = fileURLToPath(new URL('./worker-main.js', import.meta.url));

/**
 * A server on several cores: so many processes, each with a server that the module makes, behind the same ports.
 * Connections go to the workers in turn (`node:cluster`). A worker that ends is replaced; its connections are lost,
 * those of the others are not touched.
 *
 * Over HTTP, HTTPS and WebSocket. What servers of several nodes have to share, those of several workers have to share:
 * legacy sessions (`sessions.store`), limits, state of your tools.
 */
export class WorkerPool {
  readonly #options: ResolvedPoolOptions;
  readonly #events = new Events<WorkerPoolEvents>();
  readonly #slots: readonly WorkerSlot[];
  readonly #figures: PoolFigures;
  readonly #status: StatusServer | undefined;
  #state: 'created' | 'running' | 'closed' = 'created';
  #reloading: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #keepAlive: NodeJS.Timeout | undefined;

  /** @throws ConfigurationError for an option that is wrong, and in a process that is a worker itself. */
  constructor(options: WorkerPoolOptions) {
    if (!cluster.isPrimary) throw new ConfigurationError('module', 'a worker cannot have workers: its module may only make its server');
    this.#options = resolvePoolOptions(options);
    const workers = () => this.#slots.flatMap((slot) => [...slot.workers]);
    this.#figures = new PoolFigures(workers);
    const { status, count } = this.#options;
    this.#status =
      status &&
      new StatusServer(status, () => ({ workers: count, serving: this.#state === 'running' ? this.#serving() : 0 }), this.#figures);
    this.#slots = Array.from(
      { length: count },
      (_, index) =>
        new WorkerSlot({
          options: this.#options,
          fork: () => this.#fork(index),
          serving: ({ pid }) => this.#events.emit('workerServing', { index, pid }),
          ended: (worker, exit) => this.#ended(worker, exit),
          failed: (error) => this.#failed(error),
        }),
    );
  }

  /** Where the workers' servers listen, once they do. */
  get endpoints(): readonly string[] {
    return [...new Set(this.#slots.flatMap((slot) => [...slot.workers].flatMap(({ endpoints }) => endpoints)))];
  }

  /** Where the pool's own page is, such as `http://127.0.0.1:9090`, while there is one. */
  get statusUrl(): string | undefined {
    return this.#status?.url;
  }

  /** Starts all workers. Resolves when each serves. @throws Error when one does not start; then none is left. */
  async start(): Promise<void> {
    if (this.#state !== 'created') throw new Error('WorkerPool.start: the pool was started before');
    this.#state = 'running';
    // Else a process whose workers have all just died would end, instead of starting others.
    this.#keepAlive = setInterval(() => {}, 2 ** 30);
    try {
      await this.#status?.listen();
      const started = await Promise.allSettled(this.#slots.map((slot) => slot.replace()));
      const failed = started.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /**
   * Replaces the workers one after the other, each once its successor serves: for a new version of the module, or new
   * certificates and keys. When a successor does not start, the worker stays, and so do those after it.
   *
   * @throws Error saying why a successor did not start.
   */
  reload(): Promise<void> {
    if (this.#state !== 'running') return Promise.reject(new Error('WorkerPool.reload: the pool is not running'));
    const reload = this.#reloading.then(async () => {
      for (const slot of this.#slots) await slot.replace();
    });
    this.#reloading = reload.catch(() => {});
    return reload;
  }

  /** Every worker with what it has counted. */
  async report(): Promise<readonly WorkerReport[]> {
    return this.#figures.reports();
  }

  /** Has every worker finish its requests, up to `drainTimeoutMs`, and end. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Listens to one kind of {@link WorkerPoolEvents}. Returns the function that ends the subscription. */
  on<Name extends keyof WorkerPoolEvents>(name: Name, listener: (event: WorkerPoolEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  async #close(): Promise<void> {
    this.#state = 'closed';
    await Promise.all(this.#slots.map((slot) => slot.close()));
    await this.#status?.close();
    clearInterval(this.#keepAlive);
  }

  #fork(index: number): WorkerProcess {
    const { module, count, status, environment, clock } = this.#options;
    const orders: WorkerOrders = { module, index, count, prometheus: status?.metrics !== undefined };
    return new WorkerProcess(PROGRAM, orders, environment, clock);
  }

  #serving(): number {
    return this.#slots.filter((slot) => [...slot.workers].some(({ state }) => state === 'serving')).length;
  }

  #ended(worker: WorkerProcess, exit: WorkerExit): void {
    this.#figures.keep(worker);
    this.#events.emit('workerExit', exit);
    if (!exit.expected && worker.endpoints.length > 0) {
      this.#failed(new Error(`Worker ${exit.index} (process ${exit.pid}) ended with ${exit.code ?? exit.signal}`));
    }
  }

  #failed(error: Error): void {
    this.#events.emit('error', error);
    this.#options.onError(error);
  }
}
