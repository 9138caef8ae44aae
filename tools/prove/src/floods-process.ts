import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

/** Where a process of the proof runs: on a core of its own, on what is left of one, or wherever there is room. */
export type Place = 'first core' | 'second core' | 'rest of the second core' | 'anywhere';

const PREFIXES: Readonly<Record<Place, readonly string[]>> = {
  'first core': ['taskset', '-c', '0'],
  'second core': ['taskset', '-c', '1'],
  // It gives way to whoever else wants something.
  'rest of the second core': ['nice', '-n', '19', 'taskset', '-c', '1'],
  anywhere: [],
};

/** Whether processes can be put in their places. */
export function hasPlaces(): boolean {
  const [command = '', ...args] = [...PREFIXES['rest of the second core'], 'true'];
  return cpus().length > 1 && spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** Starts a program. */
export function start(program: URL, args: readonly string[], place: Place, flags: readonly string[] = []): ChildProcess {
  const [command = '', ...rest] = [...PREFIXES[place], process.execPath, ...flags];
  return fork(fileURLToPath(program), args, { execPath: command, execArgv: rest });
}

/** A process that says something when it has started, and answers when it is asked. */
export class AskedProcess<Announcement, Answer> {
  readonly announcement: Announcement;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, announcement: Announcement) {
    this.#child = child;
    this.announcement = announcement;
  }

  static async start<Announcement, Answer>(
    program: URL,
    argument: unknown,
    place: Place,
    flags: readonly string[] = [],
  ): Promise<AskedProcess<Announcement, Answer>> {
    const child = start(program, [JSON.stringify(argument)], place, flags);
    return new AskedProcess(child, await nextMessage<Announcement>(child));
  }

  async ask(): Promise<Answer> {
    const answer = nextMessage<Answer>(this.#child);
    this.#child.send('tell');
    return answer;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

async function nextMessage<Message>(child: ChildProcess): Promise<Message> {
  const abort = new AbortController();
  const { signal } = abort;
  try {
    const ended = once(child, 'exit', { signal }).then(([code, killedBy]) => {
      throw new Error(`${child.spawnargs.at(-2)} ended with ${code ?? killedBy}`);
    });
    return ((await Promise.race([once(child, 'message', { signal }), ended])) as [Message])[0];
  } finally {
    abort.abort();
  }
}
