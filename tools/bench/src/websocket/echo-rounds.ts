import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Pinning } from '../pinning.ts';
import { ServerProcess } from '../server-process.ts';
import { median } from '../statistics.ts';
import type { Measured, Order } from './generator.ts';
import { KINDS, type Kind } from './kinds.ts';

/** What one kind did in one respect; medians of the rounds. */
export interface Cell extends Measured {
  /** To plain `ws` in the same round. */
  readonly ofLimit: number;
}

/** A kind with what it did, by the name of the order. */
export interface KindRow {
  readonly kind: Kind;
  readonly cells: ReadonlyMap<string, Cell>;
}

const FOLDER = fileURLToPath(new URL('../..', import.meta.url));
const GENERATOR = fileURLToPath(new URL('./generator.ts', import.meta.url));

/** Where a kind's server program is. */
export function serverProgram(kind: Kind, ours: 'echo' | 'mcp') {
  const file = fileURLToPath(new URL(`../servers/websocket-${kind.ours ? ours : 'plain'}.ts`, import.meta.url));
  return { file, cwd: FOLDER, args: [kind.id] };
}

/** Carries out every order with every kind, kind after kind, so that all meet the same weather; then all again, round after round. */
export async function measureRounds(
  orders: ReadonlyMap<string, Order>,
  rounds: number,
  pinning: Pinning,
  step: (text: string) => void,
): Promise<readonly KindRow[]> {
  const results = KINDS.map(() => new Map<string, Measured[]>([...orders.keys()].map((name) => [name, []])));
  for (let round = 1; round <= rounds; round += 1) {
    const pairs: Pair[] = [];
    try {
      for (const kind of KINDS) pairs.push(await Pair.start(kind, pinning));
      for (const [name, order] of orders) {
        step(`round ${round} of ${rounds}: ${name}`);
        for (const [at, pair] of pairs.entries()) results[at]?.get(name)?.push(await pair.measure(order));
      }
    } finally {
      for (const pair of pairs) await pair.stop();
    }
  }
  return KINDS.map((kind, at) => ({
    kind,
    cells: new Map([...orders.keys()].map((name) => [name, cellOf(results[at]?.get(name) ?? [], results[0]?.get(name) ?? [])])),
  }));
}

function cellOf(own: readonly Measured[], limit: readonly Measured[]): Cell {
  const of = (figure: (measured: Measured) => number) => median(own.map(figure));
  return {
    perSecond: of(({ perSecond }) => perSecond),
    p50Ms: of(({ p50Ms }) => p50Ms),
    p99Ms: of(({ p99Ms }) => p99Ms),
    ofLimit: median(own.map(({ perSecond }, round) => perSecond / (limit[round] as Measured).perSecond)),
  };
}

/** A server and its client, each a process. */
class Pair {
  readonly #server: ServerProcess;
  readonly #client: ChildProcess;

  private constructor(server: ServerProcess, client: ChildProcess) {
    this.#server = server;
    this.#client = client;
  }

  static async start(kind: Kind, pinning: Pinning): Promise<Pair> {
    const server = await ServerProcess.start(serverProgram(kind, 'echo'), 'stateless', pinning.server);
    const client = spawnClient([GENERATOR, kind.id, String(server.announcement.port)], pinning.generator);
    const pair = new Pair(server, client);
    try {
      await answerOf(client);
      return pair;
    } catch (error) {
      await pair.stop();
      throw new Error(`${kind.title}: ${(error as Error).message}`);
    }
  }

  async measure(order: Order): Promise<Measured> {
    const answer = answerOf(this.#client);
    this.#client.send(order);
    return (await answer).result as Measured;
  }

  async stop(): Promise<void> {
    this.#client.kill('SIGKILL');
    await this.#server.stop(() => undefined);
  }
}

/** A client's program in a process of its own, ended when this one is. */
export function spawnClient(args: readonly string[], prefix: readonly string[]): ChildProcess {
  const [command, ...rest] = [...prefix, process.execPath, ...args];
  return spawn(command as string, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

/** What a client tells its parent. */
export interface Answer {
  readonly result?: unknown;
}

/** The next message of a client. @throws Error with what it says went wrong, or when it ended without one. */
export async function answerOf(client: ChildProcess): Promise<Answer> {
  const abort = new AbortController();
  try {
    const ended = once(client, 'exit', { signal: abort.signal }).then(([code]) => {
      throw new Error(`the client ended with code ${code}`);
    });
    const [answer] = (await Promise.race([once(client, 'message', { signal: abort.signal }), ended])) as [Answer & { error?: string }];
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  } finally {
    abort.abort();
  }
}
