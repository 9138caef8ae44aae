import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileAuditSink, SqliteAuditSink, verifyAuditTrail } from '@mcp-blocks/audit-trail';
import { crashSimulated, killWriter, verifyWithoutPrev } from './audit-crash.ts';
import { DAMAGES, damageableDatabase, damageableFile } from './audit-damage.ts';
import type { Finding, Proof } from './proof.ts';

const KINDS = ['file', 'sqlite'] as const;
const RECORDS = 100_000;
/** Below so many damages the trails are short: a check of the proof itself. */
const FULL_FROM = 100;
const KILLS_PER_DAMAGE = 0.1;

/**
 * Any flipped byte, dropped, repeated, swapped or rewritten record of a long trail is found and located, and
 * a killed process loses no record that was flushed.
 */
export const proof: Proof = {
  name: 'audit',
  n: 500,
  async run(n, progress) {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-prove-audit-'));
    try {
      return await prove(folder, n, progress);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function prove(folder: string, n: number, progress: (done: number) => void): Promise<Finding> {
  const random = mulberry(20_260_728);
  const length = n >= FULL_FROM ? RECORDS : 500;
  const details: string[] = [];
  const found = new Map<string, number>(DAMAGES.map((kind) => [kind, 0]));
  let mutantMissed = 0;
  let tried = 0;
  for (const kind of KINDS) {
    const path = join(folder, `trail-${kind}`);
    await write(kind, path, length);
    const trail = kind === 'file' ? damageableFile(path) : damageableDatabase(path);
    const share = kind === 'file' ? Math.ceil(n / 2) : Math.floor(n / 2);
    for (let index = 0; index < share; index += 1) {
      const damage = DAMAGES[index % DAMAGES.length] as (typeof DAMAGES)[number];
      const { seq, kinds } = trail.damage(damage, random);
      const result = await verifyAuditTrail(path);
      if (!result.ok && result.problem.seq === seq && kinds.includes(result.problem.kind))
        found.set(damage, (found.get(damage) as number) + 1);
      else details.push(`${kind}, ${damage}, record ${seq}: expected ${kinds.join(' or ')}, got ${JSON.stringify(result)}`);
      if (damage === 'rewritten' && index < DAMAGES.length && (await verifyWithoutPrev(path, length))) mutantMissed += 1;
      trail.mend();
      progress((tried += 1));
    }
    trail.close();
    const mended = await verifyAuditTrail(path);
    if (!mended.ok) details.push(`${kind}: the mended trail is not intact: ${mended.problem.message}`);
  }
  if (mutantMissed === 0) details.push('a verifier that ignores prev was not found out');

  const kills = Math.max(2, Math.round(n * KILLS_PER_DAMAGE));
  let acknowledged = 0;
  for (let round = 0; round < kills; round += 1) {
    const kind = KINDS[round % 2] as (typeof KINDS)[number];
    const outcome = await killWriter(kind, join(folder, `killed-${kind}`), 1 + Math.floor(random() * 40));
    acknowledged += outcome.acknowledged;
    if (outcome.lost !== undefined) details.push(`kill ${round + 1}, ${kind}: ${outcome.lost}`);
  }
  const lostSimulated = await crashSimulated(false, 50, random);
  if (lostSimulated > 0) details.push(`${lostSimulated} acknowledged records lost on the simulated disk`);
  if ((await crashSimulated(true, 50, random)) === 0) details.push('a sink that acknowledges before the disk has synced was not found out');

  const counts = [...found].map(([kind, count]) => `${count} ${kind}`).join(', ');
  const total = [...found.values()].reduce((sum, count) => sum + count, 0);
  return {
    held: details.length === 0,
    figure:
      `${total} of ${n} damages to ${length.toLocaleString('en')} records found and located (${counts}), ` +
      `${acknowledged.toLocaleString('en')} acknowledged records kept over ${kills} kills with SIGKILL, ` +
      `${details.length === 0 ? 'both planted bugs found' : `${details.length} failures`}`,
    details: details.slice(0, 20),
  };
}

async function write(kind: (typeof KINDS)[number], path: string, length: number): Promise<void> {
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

/** A small generator of numbers in [0, 1), so that a run can be repeated. */
function mulberry(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
