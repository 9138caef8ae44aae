import { WorkerPool } from '../../src/workers.js';

// A worker's module that is also the pool's program, by mistake.
new WorkerPool({ module: import.meta.url });
