import {
  isTagged,
  ORDERS_VARIABLE,
  type Order,
  type PrometheusMetric,
  tagged,
  type Word,
  type WorkerFigures,
  type WorkerOrders,
} from './messages.js';
import type { WorkerModule, WorkerServer } from './worker-module.js';

/** How long what a worker drains by itself, when it gets the signal directly, may take. */
const OWN_DEADLINE_MS = 30_000;

/** The program of every worker: makes the server of its module, serves, reports and drains as the pool says. */
class Worker {
  readonly #made: WorkerServer;
  readonly #prometheus: () => Promise<readonly PrometheusMetric[]>;
  #draining: Promise<void> | undefined;

  private constructor(made: WorkerServer, prometheus: () => Promise<readonly PrometheusMetric[]>) {
    this.#made = made;
    this.#prometheus = prometheus;
    process.on('message', (message: unknown) => {
      if (!isTagged<Order>(message)) return;
      if (message.do === 'drain') void this.drain(message.deadlineMs);
      else void this.#figures().then((figures) => say({ kind: 'report', id: message.id, figures }));
    });
    // A signal to the whole group, such as Ctrl-C, is the pool's to act on; one to this process alone has it replaced.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void this.drain(OWN_DEADLINE_MS));
  }

  static async start({ module, index, count, prometheus }: WorkerOrders): Promise<void> {
    const { default: make } = (await import(module)) as { readonly default?: WorkerModule };
    if (typeof make !== 'function') throw new Error(`${module}: expected a function as default export`);
    const result = await make({ index, count });
    const made = 'server' in result ? result : { server: result };
    const snapshot = prometheus ? (await import('./prometheus-snapshot.js')).snapshotsOf(made.server) : async () => [];
    const worker = new Worker(made, snapshot);
    await made.server.start();
    await say({ kind: 'serving', endpoints: made.server.endpoints });
    made.server.on('statusChange', ({ to }) => {
      // Stopped by its own module: what serves nothing any more makes room for another.
      if (to === 'stopped') void worker.drain(0);
    });
  }

  drain(deadlineMs: number): Promise<void> {
    this.#draining ??= this.#drain(deadlineMs);
    return this.#draining;
  }

  async #drain(deadlineMs: number): Promise<void> {
    let code = 0;
    try {
      const { server } = this.#made;
      await server.drain(deadlineMs);
      await server.stop();
      await say({ kind: 'drained', figures: await this.#figures() });
      await this.#made.close?.();
    } catch (error) {
      write(error);
      code = 1;
    }
    process.exit(code);
  }

  async #figures(): Promise<WorkerFigures> {
    return { server: this.#made.server.metrics(), prometheus: await this.#prometheus() };
  }
}

function write(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
}

function say(word: Word): Promise<void> {
  return new Promise((resolve) => {
    if (process.send?.(tagged(word), undefined, undefined, () => resolve()) === undefined) resolve();
  });
}

try {
  await Worker.start(JSON.parse(process.env[ORDERS_VARIABLE] ?? '') as WorkerOrders);
} catch (error) {
  await say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  write(error);
  process.exit(1);
}
