// Writes a trail, damages it again and again, and tells its parent which damages were found and located.
import { parentPort, workerData } from 'node:worker_threads';
import { FileAuditSink, SqliteAuditSink, verifyAuditTrail } from '@mcp-blocks/audit-trail';
import { verifyWithoutPrev } from './audit-crash.ts';
import { DAMAGES, type DamageKind, damageableDatabase, damageableFile } from './audit-damage.ts';
import { mulberry } from './random.ts';

/** What one thread does. */
export interface DamageTask {
  readonly kind: 'file' | 'sqlite';
  readonly path: string;
  /** Records in the trail. */
  readonly length: number;
  /** How many damages to try. */
  readonly share: number;
}

/** What came of it. */
export interface DamageOutcome {
  readonly found: Record<DamageKind, number>;
  /** Whether the verifier with the planted bug took a damaged trail for an intact one. */
  readonly mutantMissed: boolean;
  readonly details: readonly string[];
}

async function run({ kind, path, length, share }: DamageTask, onTried: () => void): Promise<DamageOutcome> {
  const random = mulberry(kind === 'file' ? 20_260_728 : 20_260_730);
  const found = { flipped: 0, dropped: 0, repeated: 0, swapped: 0, rewritten: 0 };
  const details: string[] = [];
  let mutantMissed = false;
  await write(kind, path, length);
  const trail = kind === 'file' ? damageableFile(path) : damageableDatabase(path);
  for (let index = 0; index < share; index += 1) {
    const damage = DAMAGES[index % DAMAGES.length] as DamageKind;
    const { seq, kinds } = trail.damage(damage, random);
    const result = await verifyAuditTrail(path);
    if (!result.ok && result.problem.seq === seq && kinds.includes(result.problem.kind)) found[damage] += 1;
    else details.push(`${kind}, ${damage}, record ${seq}: expected ${kinds.join(' or ')}, got ${JSON.stringify(result)}`);
    if (damage === 'rewritten' && index < DAMAGES.length) mutantMissed ||= await verifyWithoutPrev(path, length);
    trail.mend();
    onTried();
  }
  trail.close();
  const mended = await verifyAuditTrail(path);
  if (!mended.ok) details.push(`${kind}: the mended trail is not intact: ${mended.problem.message}`);
  return { found, mutantMissed, details };
}

async function write(kind: DamageTask['kind'], path: string, length: number): Promise<void> {
  const sink = kind === 'file' ? new FileAuditSink({ path }) : new SqliteAuditSink({ path });
  for (let number = 1; number <= length; number += 1) {
    sink.record({
      type: 'tool.call',
      time: number,
      outcome: 'succeeded',
      actor: `user-${number % 97}`,
      target: 'lookup',
      durationMs: number % 7,
    });
    if (number % 5_000 === 0) await sink.flush();
  }
  await sink.close();
}

parentPort?.postMessage(await run(workerData as DamageTask, () => parentPort?.postMessage('tried')));
