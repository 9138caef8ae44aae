import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ChainedAuditSink, readAuditTrail, type TrailHead, type TrailStore, verifyAuditTrail } from '@mcp-blocks/audit-trail';

/** Kills a writing process once; says what was acknowledged and is not there, if anything. */
export async function killWriter(
  kind: 'file' | 'sqlite',
  path: string,
  afterAcks: number,
): Promise<{ acknowledged: number; lost?: string }> {
  const child = fork(fileURLToPath(new URL('audit-writer.ts', import.meta.url)), [kind, path], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const exited = once(child, 'exit');
  let last: TrailHead | undefined;
  let acks = 0;
  const acknowledged = new Promise<void>((resolve) => {
    child.on('message', (head: TrailHead) => {
      last = head;
      acks += 1;
      if (acks === afterAcks) resolve();
    });
    child.once('exit', resolve);
  });
  await acknowledged;
  child.kill('SIGKILL');
  await exited;
  const head = last as TrailHead | undefined;
  if (head === undefined) return { acknowledged: 0, lost: 'the writer ended by itself' };
  const result = await verifyAuditTrail(path, { publishedHead: head });
  return { acknowledged: acks * 5, ...(result.ok ? {} : { lost: result.problem.message }) };
}

/** A disk that forgets, in a crash, what was not synced. */
class SimulatedDisk {
  #written: string[] = [];
  durable: readonly string[] = [];

  write(records: readonly string[]): void {
    this.#written.push(...records);
  }

  async sync(): Promise<void> {
    const count = this.#written.length;
    await new Promise((resolve) => setImmediate(resolve));
    this.durable = this.#written.slice(0, count);
  }
}

/** Crashes a sink over a simulated disk; how many acknowledged records were lost. `hasty` acknowledges before the disk has synced. */
export async function crashSimulated(hasty: boolean, rounds: number, random: () => number): Promise<number> {
  let lost = 0;
  for (let round = 0; round < rounds; round += 1) {
    const disk = new SimulatedDisk();
    const store: TrailStore = {
      head: { seq: 0, hash: '0'.repeat(64) },
      append: async (records) => {
        disk.write(records);
        const synced = disk.sync();
        if (!hasty) await synced;
      },
      close: async () => {},
    };
    const sink = new ChainedAuditSink(() => store, { batchDelayMs: 0 });
    const flushes = 1 + Math.floor(random() * 5);
    for (let flush = 0; flush < flushes; flush += 1) {
      sink.record({ type: 'test', time: flush, outcome: 'allowed', actor: 'a' });
      await sink.flush();
    }
    lost += Math.max(0, sink.head.seq - disk.durable.length);
    await sink.close();
  }
  return lost;
}

/** A verifier with the bug of not looking at `prev`: it must be found out. */
export async function verifyWithoutPrev(path: string, records: number): Promise<boolean> {
  let seq = 0;
  try {
    for await (const record of readAuditTrail(path)) if (record.seq !== (seq += 1)) return false;
  } catch {
    return false;
  }
  return seq === records;
}
