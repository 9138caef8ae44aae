import { type ChildProcess, fork } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Passed, ToWorker } from './limits-worker.ts';

/** What one or all processes did. */
export interface Tally {
  readonly passed: readonly Passed[];
  readonly offered: number;
  readonly longestMs: number;
}

/** Some processes that call through limiters. */
export class Fleet {
  readonly #children: readonly ChildProcess[];
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #next = 0;

  constructor(size: number) {
    const program = fileURLToPath(new URL('limits-worker.ts', import.meta.url));
    this.#children = Array.from({ length: size }, () => fork(program, [], { execArgv: [] }));
    for (const child of this.#children) {
      child.on('message', ({ id, result, error }: { id: number; result: never; error?: string }) => {
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error === undefined) waiting?.resolve(result);
        else waiting?.reject(new Error(error));
      });
      child.once('exit', (code) => {
        for (const { reject } of this.#waiting.values()) reject(new Error(`A process ended with code ${code}`));
      });
    }
  }

  /** Gives all the same order; resolves when all have carried it out. */
  async all<Result>(order: ToWorker): Promise<Result[]> {
    return Promise.all(
      this.#children.map(
        (child) =>
          new Promise<Result>((resolve, reject) => {
            const id = (this.#next += 1);
            this.#waiting.set(id, { resolve, reject });
            child.send({ id, order });
          }),
      ),
    );
  }

  /** The same for orders that are answered with a tally. */
  async tally(order: ToWorker): Promise<Tally> {
    const tallies = await this.all<Tally>(order);
    return {
      passed: tallies.flatMap(({ passed }) => passed).sort(([one], [other]) => one - other),
      offered: tallies.reduce((sum, { offered }) => sum + offered, 0),
      longestMs: Math.max(...tallies.map(({ longestMs }) => longestMs)),
    };
  }

  end(): void {
    for (const child of this.#children) {
      child.removeAllListeners('exit');
      child.kill('SIGKILL');
    }
  }
}

/** One address for servers that come and go. */
export async function openGate(url: string) {
  let target = new URL(url);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}`,
    leadTo(next: string) {
      target = new URL(next);
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
