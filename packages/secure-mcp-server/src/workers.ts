export type { WorkerExit, WorkerPoolEvents, WorkerReport, WorkerState } from './workers/pool-events.js';
export type { WorkerModule, WorkerPlace, WorkerServer } from './workers/worker-module.js';
export { WorkerPool } from './workers/worker-pool.js';
export type { PoolStatusOptions, WorkerPoolOptions, WorkerRestartOptions } from './workers/worker-pool-options.js';
