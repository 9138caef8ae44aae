import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { NodeReady, type NodeSettings } from './node-settings.js';

const ENTRY = fileURLToPath(new URL('./node.js', import.meta.url));

/** A running node and the process it is. */
export class NodeProcess {
  readonly settings: NodeSettings;
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(settings: NodeSettings, url: string, child: ChildProcess) {
    this.settings = settings;
    this.url = url;
    this.#child = child;
  }

  /** Starts a node and waits until it serves. */
  static async start(settings: NodeSettings): Promise<NodeProcess> {
    const child = fork(ENTRY, [], {
      env: { ...process.env, QUICKSTART_NODE: JSON.stringify(settings) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // node:sqlite still announces itself as experimental on some supported versions.
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    const failed = new Promise<never>((_resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`Node ${settings.id} ended with code ${code} before it served`)));
    });
    const [message] = (await Promise.race([once(child, 'message'), failed])) as [unknown];
    failed.catch(() => {});
    return new NodeProcess(settings, NodeReady.parse(message).url, child);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** kill -9: no farewell, no flush, sockets cut. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Lets it drain and end. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill(signal);
    await exited;
  }
}
