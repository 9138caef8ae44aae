import { type ChildProcess, fork } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Ending, NodeReport } from './drain-node.ts';

const PROGRAM = fileURLToPath(new URL('drain-node.ts', import.meta.url));

/** Server processes on fixed ports that can be restarted one at a time. */
export class Fleet {
  readonly ports: readonly number[];
  /** Calls that the nodes which have ended say they ran. */
  executed = 0;
  readonly #ending: Ending;
  readonly #nodes: ChildProcess[] = [];

  private constructor(ports: readonly number[], ending: Ending) {
    this.ports = ports;
    this.#ending = ending;
  }

  static async start(size: number, ending: Ending): Promise<Fleet> {
    const fleet = new Fleet(await freePorts(size), ending);
    await Promise.all(fleet.ports.map((_port, index) => fleet.#launch(index)));
    return fleet;
  }

  /** SIGTERM, the end of the process, a new process on the same port, ready. */
  async restart(index: number): Promise<void> {
    await this.#terminate(index);
    await this.#launch(index);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((_node, index) => this.#terminate(index)));
  }

  #launch(index: number): Promise<void> {
    // Whatever conditions this process resolves imports with: a node runs what is built.
    const node = fork(PROGRAM, [String(this.ports[index]), this.#ending], { execArgv: [] });
    this.#nodes[index] = node;
    return new Promise((resolve, reject) => {
      node.on('message', (report: NodeReport) => {
        if ('ready' in report) resolve();
        else this.executed += report.executed;
      });
      node.once('exit', (code) => reject(new Error(`a node ended with code ${code} before it was ready`)));
    });
  }

  #terminate(index: number): Promise<void> {
    const node = this.#nodes[index] as ChildProcess;
    if (node.exitCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      node.once('exit', () => resolve());
      node.kill('SIGTERM');
    });
  }
}

/** Ports that were free a moment ago. A restarted node must come back on the same one, so 0 will not do. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
