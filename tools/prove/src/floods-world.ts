import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { AttackName } from './floods-attacks.ts';
import { AskedProcess, type Place, start } from './floods-process.ts';
import type { Ports, ServerSetting, Usage } from './floods-setting.ts';

/** A server, its good client, a sink for comparison, and whoever attacks them. */
export class FloodsWorld {
  readonly server: AskedProcess<Ports, Usage>;
  readonly goodClient: AskedProcess<string, number[]>;
  readonly #sink: AskedProcess<Ports, never> | undefined;
  readonly #attackers: Place;

  private constructor(
    server: AskedProcess<Ports, Usage>,
    goodClient: AskedProcess<string, number[]>,
    sink: AskedProcess<Ports, never> | undefined,
    attackers: Place,
  ) {
    this.server = server;
    this.goodClient = goodClient;
    this.#sink = sink;
    this.#attackers = attackers;
  }

  /** @param isPlaced - with a sink, and each process in its place. */
  static async start(setting: ServerSetting, isPlaced: boolean): Promise<FloodsWorld> {
    const place = (wanted: Place): Place => (isPlaced ? wanted : 'anywhere');
    const attackers = place('rest of the second core');
    const server = await AskedProcess.start<Ports, Usage>(new URL('floods-server.ts', import.meta.url), setting, place('first core'), [
      '--expose-gc',
    ]);
    const sink = isPlaced ? await AskedProcess.start<Ports, never>(new URL('floods-sink.ts', import.meta.url), {}, attackers) : undefined;
    const goodClient = await AskedProcess.start<string, number[]>(
      new URL('floods-good-client.ts', import.meta.url),
      server.announcement,
      place('second core'),
    );
    return new FloodsWorld(server, goodClient, sink, attackers);
  }

  /** Attacks the server, or the sink, until the time is over. */
  async attack(name: AttackName, sockets: number, attackMs: number, victim: 'server' | 'sink' = 'server'): Promise<void> {
    await ended(this.begin(name, sockets, attackMs, victim), name);
  }

  /** Begins an attack, which its caller may kill. */
  begin(name: AttackName, sockets: number, attackMs: number, victim: 'server' | 'sink' = 'server'): ChildProcess {
    const { announcement } = victim === 'server' ? this.server : (this.#sink as AskedProcess<Ports, never>);
    return start(
      new URL('floods-attacker.ts', import.meta.url),
      [name, JSON.stringify(announcement), String(sockets), String(attackMs)],
      this.#attackers,
    );
  }

  stop(): void {
    for (const one of [this.server, this.goodClient, this.#sink]) one?.stop();
  }
}

async function ended(attacker: ChildProcess, name: string): Promise<void> {
  const [code, killedBy] = (await once(attacker, 'exit')) as [number | null, string | null];
  if (code !== 0) throw new Error(`${name}: the attacker ended with ${code ?? killedBy}`);
}
