import { setTimeout as sleep } from 'node:timers/promises';
import type { CallBook } from './client-book.ts';
import { loadOn, type World } from './client-storm.ts';
import type { ClientTotals } from './client-workload.ts';
import { mulberry } from './random.ts';

const LOOK_MS = 5;
const CALM_MS = 50;

/** What killing came to. */
export interface Recovery {
  /** Milliseconds from each kill until a call that was begun after it had been answered. */
  readonly times: readonly number[];
  readonly totals: ClientTotals;
}

/** Kills the process with the WebSocket, with `kill -9` and nothing else being wrong, while calls are in progress. */
export async function recoverFromKills(
  world: World,
  book: CallBook,
  kills: number,
  options: { readonly seed: number; readonly patienceMs: number; onKill(): void },
): Promise<Recovery> {
  const random = mulberry(options.seed);
  const workload = loadOn(world, book, options.seed);
  const times: number[] = [];
  workload.start();
  for (let done = 0; done < kills; done += 1) {
    const since = performance.now();
    while (workload.transport !== 'websocket' && performance.now() - since < options.patienceMs) await sleep(LOOK_MS);
    if (workload.transport !== 'websocket') {
      book.wrong(`no WebSocket ${options.patienceMs} ms after its server was back`);
      break;
    }
    await sleep(CALM_MS * random());
    const answered = workload.nextAnswer();
    const killed = world.websocket.kill();
    const ms = await Promise.race([answered, sleep(options.patienceMs, undefined)]);
    if (ms === undefined)
      book.wrong(`no call was answered for ${options.patienceMs} ms after a kill -9 of the WebSocket, with HTTP available`);
    else times.push(ms);
    await killed;
    await world.websocket.launch();
    options.onKill();
  }
  await workload.stop(options.patienceMs);
  return { times, totals: workload.totals };
}
