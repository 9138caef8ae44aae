import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { AttackName, Target } from './floods-attacks.ts';
import type { Ports, ServerSetting, Usage } from './floods-setting.ts';

const SERVER = fileURLToPath(new URL('floods-server.ts', import.meta.url));
const ATTACKER = fileURLToPath(new URL('floods-attacker.ts', import.meta.url));

/** The server under attack, in a process of its own. */
export class FloodedServer {
  readonly ports: Ports;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ports: Ports) {
    this.#child = child;
    this.ports = ports;
  }

  static async start(setting: ServerSetting): Promise<FloodedServer> {
    const child = fork(SERVER, [JSON.stringify(setting)], { execArgv: ['--expose-gc'] });
    return new FloodedServer(child, await nextMessage<Ports>(child));
  }

  async usage(): Promise<Usage> {
    const answer = nextMessage<Usage>(this.#child);
    this.#child.send('usage');
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
      throw new Error(`the server ended with ${code ?? killedBy}`);
    });
    return ((await Promise.race([once(child, 'message', { signal }), ended])) as [Message])[0];
  } finally {
    abort.abort();
  }
}

/** Attacks from a process of its own until its time is over. */
export async function attack(name: AttackName, target: Target): Promise<void> {
  const child = fork(ATTACKER, [name, JSON.stringify(target)], { execArgv: [] });
  const [code, killedBy] = (await once(child, 'exit')) as [number | null, string | null];
  if (code !== 0) throw new Error(`${name}: the attacker ended with ${code ?? killedBy}`);
}
