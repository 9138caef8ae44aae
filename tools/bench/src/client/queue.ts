import { type Connection, type Connector, MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import { median } from '../statistics.ts';

/** What one operation costs with so many requests waiting; medians of the rounds, in microseconds. */
export interface QueueRow {
  readonly waiting: number;
  readonly insertMicros: number;
  readonly cancelMicros: number;
  readonly popMicros: number;
}

const HOUR_MS = 3_600_000;

/** Most requests timed on top of those that wait. */
const MAX_BATCH = 500;

/** Fills the queue of a client that has no connection, and times what its callers do, timers, promises and all. */
export async function measureQueue(sizes: readonly number[], rounds: number, step: (text: string) => void): Promise<readonly QueueRow[]> {
  const times = sizes.map(() => ({ insert: [] as number[], cancel: [] as number[], pop: [] as number[] }));
  // One round that does not count, to warm up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, waiting] of sizes.entries()) {
      step(`queue of ${waiting}, round ${round} of ${rounds}`);
      const { insert, cancel, pop } = await fillAndEmpty(waiting);
      if (round === 0) continue;
      times[index]?.insert.push(insert);
      times[index]?.cancel.push(cancel);
      times[index]?.pop.push(pop);
    }
  }
  return sizes.map((waiting, index) => ({
    waiting,
    insertMicros: median(times[index]?.insert ?? []),
    cancelMicros: median(times[index]?.cancel ?? []),
    popMicros: median(times[index]?.pop ?? []),
  }));
}

async function fillAndEmpty(waiting: number): Promise<{ insert: number; cancel: number; pop: number }> {
  const batch = Math.min(MAX_BATCH, waiting);
  const gate = Promise.withResolvers<void>();
  const { connector, answered } = countingConnector(gate.promise);
  const client = new MCPClientPattern({
    serverUrl: 'http://127.0.0.1:1',
    connectors: () => [connector],
    queueLimit: waiting + 2 * batch,
    requestTimeout: HOUR_MS,
    connectTimeout: HOUR_MS,
    healthCheckInterval: 0,
    maxConcurrentRequests: 1,
  });
  let settled = 0;
  const send = (n: number, signal?: AbortSignal) => {
    // Neighbours in time are not neighbours in the queue.
    const options = { priority: (n * 7) % 10, fairnessKey: String((n * 13) % 100), ...(signal === undefined ? {} : { signal }) };
    client.callTool('any', {}, options).then(
      () => (settled += 1),
      () => (settled += 1),
    );
  };
  for (let n = 0; n < waiting; n += 1) send(n);
  await turn();
  const aborts = Array.from({ length: batch }, () => new AbortController());
  let startedAt = process.cpuUsage();
  for (const [n, { signal }] of aborts.entries()) send(n, signal);
  const insert = micros(startedAt, batch);
  await turn();
  startedAt = process.cpuUsage();
  for (const controller of aborts) controller.abort();
  const cancel = micros(startedAt, batch);
  await turn();
  if (settled !== batch) throw new Error(`${settled} of ${batch} were cancelled`);
  const done = answered(batch);
  startedAt = process.cpuUsage();
  gate.resolve();
  await done;
  const pop = micros(startedAt, batch);
  await client.close();
  await turn();
  if (settled !== waiting + batch) throw new Error(`${settled} of ${waiting + batch} requests came to an end`);
  return { insert, cancel, pop };
}

/** Time of the processor, so that what else the machine does counts little. */
function micros(since: NodeJS.CpuUsage, count: number): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / count;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A connection that opens when the gate does and answers at once. */
function countingConnector(gate: Promise<void>): { connector: Connector; answered(count: number): Promise<void> } {
  let count = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let reached = () => {};
  const ended = Promise.withResolvers<undefined>();
  const connection: Connection = {
    era: 'modern',
    closed: ended.promise,
    async request() {
      count += 1;
      if (count === wanted) reached();
      return { result: { content: [] }, interactive: false, era: 'modern' };
    },
    retire: () => ended.resolve(undefined),
    close: () => Promise.resolve(ended.resolve(undefined)),
  };
  return {
    connector: { kind: 'instant', open: () => gate.then(() => connection) },
    answered(n) {
      wanted = n;
      return new Promise((resolve) => (reached = resolve));
    },
  };
}
