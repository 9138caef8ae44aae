import { CallBook, KINDS, type Verdict } from './client-book.ts';
import { FAULT_NAMES, type FaultName } from './client-faults.ts';
import { killServers } from './client-faulty-server.ts';
import { type HeapReport, measureHeap, slopeOf } from './client-heap.ts';
import { Ledger } from './client-ledger-process.ts';
import { type HeapTrial, MUTANT_COUNT, unnoticedMutants } from './client-mutants.ts';
import { recoverFromKills } from './client-recovery.ts';
import { endWorlds, startWorlds, storm } from './client-storm.ts';
import { type ClientTotals, TIMEOUT_MS } from './client-workload.ts';
import type { Finding, Proof } from './proof.ts';

const CALLS_PER_FAULT = 100;
/** Worlds are in turn of the modern and of the legacy era. */
const ERAS = 2;
const FAULTS_PER_KILL = 40;
const MAX_WORLDS = 8;
const FAULTS_PER_WORLD = 15;

/** What a kill and a reconnect take, beside a fault. */
const STEPS_PER_KILL = 5;
const RECONNECTS_PER_STEP = 10;

/** Whoever waits longer than this has been forgotten, however busy the machine is. */
const PATIENCE_MS = 60_000;

/** From how many faults a run is long enough for its times, and for the slope of its heap, to count. */
const TIMED = 1000;
const MAX_P99_MS = 500;

const HEAP_TRIAL: HeapTrial = { reconnects: 2000, maxGrowthBytes: 1_000_000, ballast: 0, patienceMs: PATIENCE_MS };
const SHORT_HEAP_TRIAL: HeapTrial = { reconnects: 60, maxGrowthBytes: 5_000_000, ballast: 40_000, patienceMs: PATIENCE_MS };

/** What was found. */
interface Results {
  readonly book: CallBook;
  readonly verdict: Verdict;
  readonly faults: ReadonlyMap<FaultName, number>;
  readonly totals: ClientTotals;
  /** Ambiguous outcomes of calls that had run. */
  readonly hadRun: number;
  /** What the faults took. */
  readonly seconds: number;
  /** Milliseconds until the next answer after each kill -9 of a WebSocket, in ascending order. */
  readonly recoveries: readonly number[];
  readonly heaps: readonly HeapReport[];
}

/**
 * Clients call servers in other processes, by WebSocket first and HTTP while there is none, while the processes are
 * killed, frozen and restarted and the sockets between are cut, stalled, made deaf or slow, or lose what they carry.
 * What the calls have done is counted by a process that no fault reaches.
 *
 * Promised: what may not be repeated happens once; who is told a success or a failure is told the truth; who cannot be
 * told gets an AmbiguousOutcomeError; nobody waits longer than his timeout; after `kill -9` of the WebSocket the next
 * call is answered soon; and reconnecting costs no memory. Clients with bugs must be found out.
 */
export const proof: Proof = {
  name: 'client',
  n: 10_000,
  async run(n, progress): Promise<Finding> {
    const isTimed = n >= TIMED;
    const trial = isTimed ? HEAP_TRIAL : SHORT_HEAP_TRIAL;
    try {
      const [results, unnoticed] = await Promise.all([faceFaults(n, trial, progress), unnoticedMutants(trial)]);
      const details = [...problemsOf(results, trial, isTimed), ...unnoticed.map((bug) => `not found out: ${bug}`)];
      const bugs = `${MUTANT_COUNT - unnoticed.length} of ${MUTANT_COUNT} planted bugs found`;
      return { held: details.length === 0, details, table: tableOf(results), figure: `${figureOf(results, isTimed)}; ${bugs}` };
    } finally {
      killServers();
    }
  },
};

/** Worlds that know nothing of each other, struck all at once; then two of them for what kills and reconnects cost. */
async function faceFaults(n: number, trial: HeapTrial, progress: (done: number) => void): Promise<Results> {
  const size = Math.min(MAX_WORLDS, Math.max(ERAS, Math.floor(n / FAULTS_PER_WORLD)));
  const book = new CallBook();
  const ledger = await Ledger.start();
  const faults = new Map<FaultName, number>(FAULT_NAMES.map((name) => [name, 0]));
  const kills = Math.ceil(n / FAULTS_PER_KILL);
  const reconnects = Math.max(trial.reconnects, n);
  const steps = n + STEPS_PER_KILL * kills + (ERAS * reconnects) / RECONNECTS_PER_STEP;
  let done = 0;
  const step = (size: number) => progress(Math.min(n, Math.floor((n * (done += size)) / steps)));
  const onFault = (name: FaultName) => {
    faults.set(name, (faults.get(name) as number) + 1);
    step(1);
  };
  try {
    const worlds = await startWorlds(size, ledger.port);
    const startedAt = performance.now();
    const totals = await Promise.all(
      worlds.map((world, index) => {
        const share = Math.floor((n * (index + 1)) / size) - Math.floor((n * index) / size);
        return storm(world, book, { seed: 1000 * index, faults: share, callsPerFault: CALLS_PER_FAULT, patienceMs: PATIENCE_MS, onFault });
      }),
    );
    const seconds = (performance.now() - startedAt) / 1000;
    // One of each era, so that the machine is not busy with starting processes.
    const two = worlds.slice(0, ERAS);
    const recoveries = await Promise.all(
      two.map((world, index) =>
        recoverFromKills(world, book, Math.ceil(kills / ERAS), {
          seed: index + 1,
          patienceMs: PATIENCE_MS,
          onKill: () => step(STEPS_PER_KILL),
        }),
      ),
    );
    const onReconnect = () => step(1 / RECONNECTS_PER_STEP);
    const heaps = await Promise.all(two.map((world) => measureHeap(world, { reconnects, patienceMs: PATIENCE_MS, onReconnect })));
    await endWorlds(worlds);
    const audit = await ledger.audit({ ambiguous: book.ambiguous });
    return {
      book,
      verdict: book.judge(audit),
      faults,
      totals: sumOf([...totals, ...recoveries.map((recovery) => recovery.totals)]),
      hadRun: book.hadEffect(audit),
      seconds,
      recoveries: recoveries.flatMap(({ times }) => times).sort((a, b) => a - b),
      heaps,
    };
  } finally {
    ledger.stop();
  }
}

/** The promises that were broken. */
function problemsOf({ book, verdict, totals, recoveries, heaps }: Results, trial: HeapTrial, isTimed: boolean): string[] {
  const problems = verdict.problems.slice(0, 20);
  if (book.longestMs > TIMEOUT_MS + PATIENCE_MS) problems.push(`a call took ${book.longestMs} ms`);
  if (totals.ambiguous !== book.ambiguous.length)
    problems.push(`${book.ambiguous.length} ambiguous outcomes, ${totals.ambiguous} events that tell of one`);
  const p99 = quantile(recoveries, 0.99);
  if (isTimed && p99 >= MAX_P99_MS) problems.push(`the p99 of the time to the next answer was ${p99.toFixed(0)} ms`);
  for (const { points, leaked, reconnects } of heaps) {
    if (slopeOf(points) * reconnects > trial.maxGrowthBytes)
      problems.push(`the heap grew by ${slopeOf(points).toFixed(0)} bytes per reconnect`);
    if (leaked.length > 0) problems.push(`${leaked.length} handles leaked: ${[...new Set(leaked)].join(', ')}`);
  }
  return problems;
}

function sumOf(all: readonly ClientTotals[]): ClientTotals {
  const sum: ClientTotals = { clients: 0, reconnects: 0, fallbacks: 0, retries: 0, ambiguous: 0 };
  for (const each of all) for (const key of Object.keys(sum) as (keyof ClientTotals)[]) sum[key] += each[key];
  return sum;
}

function figureOf({ book, faults, hadRun, heaps, recoveries, seconds, totals, verdict }: Results, isTimed: boolean): string {
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((all, each) => all + each, 0);
  const ms = (share: number) => quantile(recoveries, share).toFixed(0);
  const remark = isTimed ? '' : ' (too few to count)';
  return [
    `${count(sum(faults.values()) + recoveries.length)} faults and ${count(book.size)} calls, faults for ${seconds.toFixed(0)} s: ${verdict.duplicates} duplicates, ${verdict.silentLosses} silent losses`,
    `${count(book.ambiguous.length)} ambiguous outcomes (${count(hadRun)} had run), ${verdict.unreported} unreported`,
    `longest call ${(book.longestMs / 1000).toFixed(1)} s with a timeout of ${TIMEOUT_MS / 1000} s`,
    `${count(totals.reconnects)} reconnects, ${count(totals.fallbacks)} to HTTP`,
    `next answer after kill -9 of the WebSocket p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms of ${recoveries.length}${remark}`,
    `heap ${Math.max(...heaps.map(({ points }) => slopeOf(points))).toFixed(0)} bytes per reconnect over ${heaps.length} times ${count(heaps[0]?.reconnects ?? 0)}${remark}, ${sum(heaps.map(({ leaked }) => leaked.length))} handles leaked`,
  ].join('; ');
}

function tableOf({ book, faults, totals }: Results): string {
  const list = (entries: Iterable<readonly [string, number]>) =>
    [...entries].map(([name, number]) => `${name} ${count(number)}`).join(', ');
  return [
    `faults: ${list(faults)}`,
    `clients: ${list(Object.entries(totals))}`,
    ...KINDS.map((kind) => `${kind}: ${list(book.outcomes(kind))}`),
    `failures: ${list([...book.failures].sort())}`,
  ].join('\n');
}

function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.max(0, Math.ceil(ascending.length * share) - 1)] ?? Number.POSITIVE_INFINITY;
}

function count(number: number): string {
  return number.toLocaleString('en');
}
