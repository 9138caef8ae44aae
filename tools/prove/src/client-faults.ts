import { setTimeout as sleep } from 'node:timers/promises';
import type { Weather } from './client-fault-proxy.ts';
import type { FaultyServer } from './client-faulty-server.ts';

export type FaultName = 'cut' | 'stall' | 'partition' | 'deafness' | 'slowness' | 'freeze' | 'kill -9' | 'restart';

/** Most faults befall sockets; processes take too long to start for more. */
const SHARES: Readonly<Record<FaultName, number>> = {
  cut: 0.35,
  stall: 0.12,
  partition: 0.12,
  deafness: 0.12,
  slowness: 0.12,
  freeze: 0.12,
  'kill -9': 0.03,
  restart: 0.02,
};

export const FAULT_NAMES = Object.keys(SHARES) as readonly FaultName[];

const MIN_MS = 10;
const SPREAD_MS = 290;

export function drawFault(random: () => number): FaultName {
  let left = random();
  for (const name of FAULT_NAMES) {
    left -= SHARES[name];
    if (left < 0) return name;
  }
  return 'cut';
}

/** Resolves when the fault is over. */
export async function strike(server: FaultyServer, fault: FaultName, random: () => number): Promise<void> {
  const lastingMs = MIN_MS + random() * SPREAD_MS;
  const turn = async (weather: Weather) => {
    server.proxy.turn(weather);
    await sleep(lastingMs);
    server.proxy.turn('fair');
  };
  switch (fault) {
    case 'cut':
      return server.proxy.cut();
    case 'stall':
      return turn('stalled');
    case 'partition':
      return turn('lost');
    case 'deafness':
      return turn('deaf');
    case 'slowness':
      return turn('slow');
    case 'freeze':
      server.freeze();
      await sleep(lastingMs);
      return server.thaw();
    case 'kill -9':
      await server.kill();
      return server.launch();
    case 'restart':
      await server.terminate();
      return server.launch();
  }
}
