import { setTimeout as sleep } from 'node:timers/promises';
import type { MCPClientConfig } from '@mcp-blocks/mcp-client-pattern';
import type { CallBook } from './client-book.ts';
import { drawFault, type FaultName, strike } from './client-faults.ts';
import { FaultyServer } from './client-faulty-server.ts';
import { type ClientTotals, HURRY, type MakeCall, Workload } from './client-workload.ts';
import { mulberry } from './random.ts';

const LOOK_MS = 5;
const CLIENT_REPLACED_EVERY = 50;

/** A server with a WebSocket and one with HTTP, for a client of its own. */
export interface World {
  readonly era: 'modern' | 'legacy';
  readonly websocket: FaultyServer;
  readonly http: FaultyServer;
}

export async function startWorlds(count: number, ledgerPort: number): Promise<World[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const [websocket, http] = await Promise.all([FaultyServer.start('websocket', ledgerPort), FaultyServer.start('http', ledgerPort)]);
      return { era: index % 2 === 0 ? 'modern' : 'legacy', websocket, http } as const;
    }),
  );
}

/** What servers have read they do before they end. */
export async function endWorlds(worlds: readonly World[]): Promise<void> {
  await Promise.all(worlds.flatMap(({ websocket, http }) => [websocket.terminate(), http.terminate()]));
}

/** The load of a client with the default configuration, unless told otherwise. */
export function loadOn(world: World, book: CallBook, seed: number, config: Partial<MCPClientConfig> = {}, make?: MakeCall): Workload {
  const ports = { websocket: world.websocket.proxy.port, http: world.http.proxy.port };
  return new Workload(book, ports, mulberry(seed), { versionNegotiation: world.era, ...config }, make);
}

/** How a storm is. */
export interface StormOptions {
  readonly seed: number;
  readonly faults: number;
  /** Calls settled for every fault. */
  readonly callsPerFault: number;
  /** Default: drawn at random. */
  readonly only?: readonly FaultName[];
  /** Nobody waits longer for a call to settle. */
  readonly patienceMs: number;
  readonly config?: Partial<MCPClientConfig>;
  readonly make?: MakeCall;
  onFault?(fault: FaultName): void;
}

/** Strikes the ways to a world's servers, each at times of its own, while a client calls. */
export async function storm(world: World, book: CallBook, options: StormOptions): Promise<ClientTotals> {
  const { seed, faults, callsPerFault, only, patienceMs, onFault } = options;
  const workload = loadOn(world, book, seed, { ...HURRY, ...options.config }, options.make);
  workload.start();
  const strikes = async (server: FaultyServer, count: number, random: () => number) => {
    for (let done = 0; done < count; done += 1) {
      // Two ways, hence twice as many calls.
      const enough = workload.settled + 4 * callsPerFault * random();
      const fault = only?.[Math.floor(random() * only.length)] ?? drawFault(random);
      await strike(server, fault, random);
      onFault?.(fault);
      if (!(await reaches(workload, enough, patienceMs))) return book.wrong(`no call was settled for ${patienceMs} ms`);
      if (server === world.websocket && done % CLIENT_REPLACED_EVERY === CLIENT_REPLACED_EVERY - 1) await workload.replaceClient();
    }
  };
  const half = Math.floor(faults / 2);
  await Promise.all([strikes(world.websocket, faults - half, mulberry(seed + 1)), strikes(world.http, half, mulberry(seed + 2))]);
  await reaches(workload, faults * callsPerFault, patienceMs);
  await workload.stop(patienceMs);
  return workload.totals;
}

/** False when nothing has been settled for so long. */
async function reaches(workload: Workload, count: number, patienceMs: number): Promise<boolean> {
  for (let last = workload.settled, since = performance.now(); workload.settled < count; await sleep(LOOK_MS)) {
    if (workload.settled !== last) {
      last = workload.settled;
      since = performance.now();
    }
    if (performance.now() - since > patienceMs) return false;
  }
  return true;
}
