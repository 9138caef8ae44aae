import { workerData } from 'node:worker_threads';

/** A thread that ends its process when the process that started it has ended. */
const CHECK_MS = 500;

setInterval(() => {
  if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL');
}, CHECK_MS);
