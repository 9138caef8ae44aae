import { percentile } from '../statistics.ts';
import { type Kind, kindOf } from './kinds.ts';
import { idsOf, type Lane, openLane } from './lanes.ts';

/** What the generator is told to measure. */
export type Order =
  | { readonly do: 'echo'; readonly bytes: number; readonly window: number; readonly warmUpMs: number; readonly durationMs: number }
  | { readonly do: 'handshakes'; readonly atATime: number; readonly durationMs: number };

/** Messages, or connections, in the measured time. */
export interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** One process per kind; the kind and the port as arguments, orders as messages of the parent, one at a time. */
async function main(kind: Kind, port: number): Promise<void> {
  const lane = await openLane(kind, port);
  process.on('message', (order: Order) => {
    const measured = order.do === 'echo' ? measureEcho(lane, order) : measureHandshakes(kind, port, order);
    measured.then(
      (result) => process.send?.({ result }),
      (error: Error) => process.send?.({ error: error.message }),
    );
  });
  process.send?.({ ready: true });
}

/** Keeps `window` messages under way and looks at each that comes back: the right one, in full length. */
function measureEcho(lane: Lane, { bytes, window, warmUpMs, durationMs }: Order & { do: 'echo' }): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const send = lane.prepare(bytes);
    const ids = idsOf(bytes);
    const latencies: number[] = [];
    const sentAt = new Float64Array(window);
    let sent = 0;
    let back = 0;
    let isOver = false;
    let elapsedMs = 0;
    const startsAt = performance.now() + warmUpMs;
    const endsAt = startsAt + durationMs;
    const next = () => {
      sentAt[sent % window] = performance.now();
      send((sent += 1) - 1);
    };
    lane.onEcho = (turn) => {
      if (turn !== back % ids) return reject(new Error(`message ${back} did not come back as it was sent`));
      const now = performance.now();
      if (now >= startsAt && !isOver) latencies.push(now - (sentAt[back % window] as number));
      back += 1;
      if (!isOver && now >= endsAt && latencies.length > 0) {
        isOver = true;
        elapsedMs = now - startsAt;
      }
      if (!isOver) next();
      else if (back === sent) resolve({ perSecond: (1000 * latencies.length) / elapsedMs, ...quantiles(latencies) });
    };
    for (let lead = 0; lead < window; lead += 1) next();
  });
}

/** Opens connections, closing each once it is open; the time of one is from its start until it can be used. */
async function measureHandshakes(kind: Kind, port: number, { atATime, durationMs }: Order & { do: 'handshakes' }): Promise<Measured> {
  const times: number[] = [];
  const beganAt = performance.now();
  let openedAt = beganAt;
  const openAndClose = async () => {
    do {
      const startedAt = performance.now();
      const lane = await openLane(kind, port);
      openedAt = performance.now();
      times.push(openedAt - startedAt);
      await lane.close();
    } while (openedAt < beganAt + durationMs);
  };
  await Promise.all(Array.from({ length: atATime }, openAndClose));
  return { perSecond: (1000 * times.length) / (openedAt - beganAt), ...quantiles(times) };
}

function quantiles(times: readonly number[]) {
  return { p50Ms: percentile(times, 50), p99Ms: percentile(times, 99) };
}

process.once('disconnect', () => process.exit());
const [id, port] = process.argv.slice(2) as [string, string];
await main(kindOf(id), Number(port));
