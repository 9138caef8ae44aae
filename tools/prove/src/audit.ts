import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { crashSimulated, killWriter } from './audit-crash.ts';
import { DAMAGES } from './audit-damage.ts';
import type { DamageOutcome, DamageTask } from './audit-damager.ts';
import type { Finding, Proof } from './proof.ts';
import { mulberry } from './random.ts';

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
  const length = n >= FULL_FROM ? RECORDS : 500;
  let tried = 0;
  const outcomes = await Promise.all(
    KINDS.map((kind) => {
      const share = kind === 'file' ? Math.ceil(n / 2) : Math.floor(n / 2);
      return damageElsewhere({ kind, path: join(folder, `trail-${kind}`), length, share }, () => progress((tried += 1)));
    }),
  );
  const details = outcomes.flatMap((outcome) => outcome.details);
  const found = DAMAGES.map((kind) => [kind, outcomes.reduce((sum, outcome) => sum + outcome.found[kind], 0)] as const);
  if (!outcomes.some(({ mutantMissed }) => mutantMissed)) details.push('a verifier that ignores prev was not found out');

  const random = mulberry(20_260_729);
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

  const counts = found.map(([kind, count]) => `${count} ${kind}`).join(', ');
  const total = found.reduce((sum, [, count]) => sum + count, 0);
  return {
    held: details.length === 0,
    figure:
      `${total} of ${n} damages to ${length.toLocaleString('en')} records found and located (${counts}), ` +
      `${acknowledged.toLocaleString('en')} acknowledged records kept over ${kills} kills with SIGKILL, ` +
      `${details.length === 0 ? 'both planted bugs found' : `${details.length} failures`}`,
    details: details.slice(0, 20),
  };
}

/** The trails are damaged and verified each on a thread of its own. */
async function damageElsewhere(task: DamageTask, onTried: () => void): Promise<DamageOutcome> {
  const worker = new Worker(new URL('audit-damager.ts', import.meta.url), {
    workerData: task,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  return new Promise((resolve, reject) => {
    worker.on('message', (message: 'tried' | DamageOutcome) => (message === 'tried' ? onTried() : resolve(message)));
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`the thread that damages '${task.path}' ended by itself`)));
  });
}
