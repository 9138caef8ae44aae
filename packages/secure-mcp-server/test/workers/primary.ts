import { serveClusterLimits } from '@mcp-blocks/rate-limited-rpc/cluster';
import { WorkerPool } from '../../src/workers.js';

// A program with a pool, in a process of its own; its parent says what the pool is to do.
const stopLimits = serveClusterLimits();
const pool = new WorkerPool({
  module: new URL('./server.ts', import.meta.url),
  count: 2,
  startTimeoutMs: 300_000,
  drainTimeoutMs: 300_000,
  restart: { initialDelayMs: 1 },
  status: { port: 0, metrics: {} },
  onError: () => {},
});
pool.on('workerServing', (event) => process.send?.({ event: 'serving', ...event }));
pool.on('workerExit', (event) => process.send?.({ event: 'exit', ...event }));
pool.on('error', ({ message }) => process.send?.({ event: 'error', message }));

const acts: Record<string, () => Promise<unknown>> = {
  start: async () => {
    await pool.start();
    return { endpoints: pool.endpoints, statusUrl: pool.statusUrl };
  },
  reload: () => pool.reload(),
  report: () => pool.report(),
  close: async () => {
    await pool.close();
    await pool.close();
    await stopLimits();
    // Nothing is left that keeps the process: it ends by itself.
    setImmediate(() => process.disconnect());
  },
};

process.on('message', ({ act, id }: { act: string; id: number }) => {
  (acts[act] as () => Promise<unknown>)().then(
    (result) => process.send?.({ id, result }),
    (error: Error) => process.send?.({ id, error: error.message }),
  );
});
