import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { FaultProxy } from './client-fault-proxy.ts';
import { nextMessage } from './client-messages.ts';
import type { Door } from './client-server.ts';

const PROGRAM = fileURLToPath(new URL('client-server.ts', import.meta.url));

const MAX_DRAIN_MS = 30_000;

/** A frozen process would not see that its parent has ended. */
const running = new Set<ChildProcess>();

/** Ends what is left, whatever has happened. */
export function killServers(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** A server process behind a fault proxy, both of which can be struck. */
export class FaultyServer {
  readonly proxy = new FaultProxy();
  readonly #door: Door;
  readonly #ledgerPort: number;
  #child: ChildProcess | undefined;
  #launches = 0;

  private constructor(door: Door, ledgerPort: number) {
    this.#door = door;
    this.#ledgerPort = ledgerPort;
  }

  static async start(door: Door, ledgerPort: number): Promise<FaultyServer> {
    if (!process.listeners('exit').includes(killServers)) process.once('exit', killServers);
    const server = new FaultyServer(door, ledgerPort);
    await server.launch();
    return server;
  }

  /** A process, and the way to it. */
  async launch(): Promise<void> {
    this.#launches += 1;
    const child = fork(PROGRAM, [this.#door, String(this.#ledgerPort), String(this.#launches)], { execArgv: [] });
    this.#child = child;
    running.add(child);
    await this.proxy.open(await nextMessage<number>(child));
  }

  /** kill -9: nobody listens, and the kernel ends what was open. */
  async kill(): Promise<void> {
    const killed = this.#end('SIGKILL');
    this.proxy.shut();
    await killed;
  }

  /** SIGTERM: it answers what it has begun. */
  async terminate(): Promise<void> {
    await this.#end('SIGTERM');
    this.proxy.shut();
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child as ChildProcess;
    const ended = once(child, 'exit');
    child.kill(signal);
    // One that does not end by itself is no client's fault.
    const late = setTimeout(() => child.kill('SIGKILL'), MAX_DRAIN_MS);
    await ended;
    clearTimeout(late);
    running.delete(child);
  }
}
