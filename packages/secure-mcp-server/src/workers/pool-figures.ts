import type { PrometheusMetric } from './messages.js';
import type { WorkerReport } from './pool-events.js';
import type { WorkerProcess } from './worker-process.js';

const REPORT_TIMEOUT_MS = 2_000;

/** What the workers of a pool count, together with those that are gone. */
export class PoolFigures {
  readonly #workers: () => readonly WorkerProcess[];
  /** Counted by workers that have ended, as far as they had told. */
  #gone: readonly PrometheusMetric[] = [];
  #exits = 0;
  /** Sums are made and kept one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(workers: () => readonly WorkerProcess[]) {
    this.#workers = workers;
  }

  async reports(): Promise<readonly WorkerReport[]> {
    return Promise.all(
      this.#workers().map(async (worker) => {
        const figures = await worker.report(REPORT_TIMEOUT_MS);
        const { index, pid, state } = worker;
        return { index, pid, state, ...(figures === undefined ? {} : { metrics: figures.server }) };
      }),
    );
  }

  /** A worker has ended: what it told last stays in the sums. */
  keep(worker: WorkerProcess): void {
    this.#exits += 1;
    const last = worker.lastFigures?.prometheus ?? [];
    if (last.length === 0) return;
    this.#turn = this.#turn.then(async () => {
      this.#gone = await (await import('./prometheus-snapshot.js')).lasting([this.#gone, last]);
    });
  }

  /** In the text format of Prometheus. */
  render(): Promise<{ contentType: string; body: string }> {
    const page = this.#turn.then(async () => {
      const workers = this.#workers();
      await Promise.all(workers.map((worker) => worker.report(REPORT_TIMEOUT_MS)));
      const { renderSum } = await import('./prometheus-snapshot.js');
      // One that does not answer counts with what it told before: a sum never falls. One that has ended meanwhile
      // is not in `#gone` yet, as that waits for its turn.
      const sums = await renderSum([this.#gone, ...workers.map(({ lastFigures }) => lastFigures?.prometheus ?? [])]);
      const serving = workers.filter(({ state }) => state === 'serving').length;
      const own = [
        ['mcp_workers', 'gauge', 'Workers that serve.', serving],
        ['mcp_worker_exits_total', 'counter', 'Workers that have ended.', this.#exits],
      ].map(([name, type, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`);
      return { contentType: sums.contentType, body: `${sums.body}\n${own.join('\n')}` };
    });
    this.#turn = page.catch(() => {});
    return page;
  }
}
