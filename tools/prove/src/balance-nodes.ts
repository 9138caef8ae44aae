import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How long a node takes for a request; the slow one takes them one at a time, so that a queue forms. */
const FAST_MS = 4;
const SLOW_MS = 20;
const NODES = 4;

// A process of its own: four HTTP nodes, the last of them slow. Tells its parent their ports.
const ports = await Promise.all(Array.from({ length: NODES }, (_, index) => startNode(index === NODES - 1)));
process.send?.(ports);
process.once('disconnect', () => process.exit(0));

function startNode(slow: boolean): Promise<number> {
  let last = Promise.resolve();
  const work = (durationMs: number) => new Promise<void>((resolve) => setTimeout(resolve, durationMs));
  const server = createServer((request, response) => {
    request.resume();
    const done = slow ? (last = last.then(() => work(SLOW_MS))) : work(FAST_MS);
    void done.then(() => response.end(slow ? 'slow' : 'fast'));
  });
  server.keepAliveTimeout = 0;
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
}
