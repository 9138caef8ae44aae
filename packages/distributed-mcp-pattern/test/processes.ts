import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A program in a process of its own, that tells its URL. */
export interface ProcessNode {
  readonly id: string;
  readonly url: string;
  send(message: string): void;
  /** Resolves when it has said this, now or before. Rejects when it ends first. */
  hears(message: string): Promise<void>;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
}

/** Starts a program, with `order` as its argument; resolves when it listens. */
export async function startProcess(program: URL, order: { readonly id: string; readonly [name: string]: unknown }): Promise<ProcessNode> {
  const child = fork(fileURLToPath(program), [JSON.stringify(order)], {
    // The built packages, as users have them.
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const said = new Set<string>();
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let url = '';
  child.on('message', (message: string | { url: string }) => {
    if (typeof message === 'string') said.add(message);
    else ({ url } = message);
  });
  const until = async (isSo: () => boolean, what: string) => {
    while (!isSo()) {
      const ended = exited.then(() => Promise.reject(new Error(`${program.pathname} ended before ${what}`)));
      await Promise.race([nextMessage(child), ended]);
    }
  };
  await until(() => url !== '', 'it listened');
  return {
    id: order.id,
    url,
    send: (message) => void child.send(message),
    hears: (message) => until(() => said.has(message), message),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

async function nextMessage(child: ChildProcess): Promise<void> {
  await once(child, 'message');
}

/** A part of the test run's Redis that nobody else uses. */
export function redis(): { readonly url: string; readonly keyPrefix: string } {
  const url = process.env.MCP_BLOCKS_REDIS_URL;
  if (!url) throw new Error('MCP_BLOCKS_REDIS_URL is not set: run the tests through `npm test`, which starts a Redis server for them');
  return { url, keyPrefix: `test-${randomUUID()}:` };
}
