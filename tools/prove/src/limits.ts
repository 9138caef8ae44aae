import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitAlgorithm } from '@mcp-blocks/rate-limited-rpc';
import { type RunningServices, startServices } from '@mcp-blocks/services';
import { Fleet, openGate, type Tally } from './limits-fleet.ts';
import type { Passed, WorkerSetting } from './limits-worker.ts';
import type { Finding, Proof } from './proof.ts';

const PROCESSES = 4;
const LIMIT = 20;
const HOUR_MS = 3_600_000;
const ALGORITHMS: readonly LimitAlgorithm[] = ['fixed-window', 'sliding-window', 'token-bucket'];

/** Calls in progress at a time. */
const CONCURRENT = 5;

/** The window of the sustained part, and how many of them it lasts for every hundred windows of the first part. */
const SHORT_MS = 100;
const SHORT_PER_HUNDRED = 10;

/** The outage: its length and the limit that is divided among the processes. */
const OUTAGE_MS = 500;
const INSURED_LIMIT = 100;
const SHARE = INSURED_LIMIT / PROCESSES;

/** Where Redis is up, every call is to get its answer, however busy the machine is. */
const PATIENT_MS = 30_000;

/** In an outage a call waits for Redis at most for its time limit; a busy machine may wake it this much later. */
const COMMAND_TIMEOUT_MS = 200;
const LATE_MS = 1000;

/**
 * Processes on one Redis never let more through, and never have more in progress, than the limit; killing Redis lets through no more than
 * the README's bound. Stores that look and count in two steps, count in each process, let pass what Redis does not
 * answer, or insure the whole limit in each process must be found out.
 */
export const proof: Proof = {
  name: 'limits',
  n: 3000,
  async run(n, progress): Promise<Finding> {
    const services = await startServices(['redis']);
    const fleet = new Fleet(PROCESSES);
    try {
      const url = services.env.MCP_BLOCKS_REDIS_URL as string;
      const details: string[] = [];
      const figures: string[] = [];
      const windows = Math.max(1, Math.floor(n / ALGORITHMS.length));
      for (const [index, algorithm] of ALGORITHMS.entries()) {
        const wrong = await bursts(fleet, { url, algorithm, store: 'redis' }, windows, (done) => progress(index * windows + done));
        if (wrong.length > 0) details.push(`${algorithm}: ${wrong.length} windows did not let through exactly ${LIMIT}: ${wrong[0]}`);
        const most = await sustained(fleet, { url, algorithm, store: 'redis' }, Math.max(5, (windows * SHORT_PER_HUNDRED) / 100));
        if (most.excess > 0) details.push(`${algorithm}: ${most.excess} too many under sustained load`);
        figures.push(
          `${algorithm} ${windows - wrong.length}/${windows} windows exact, ${most.offered} sustained calls ${Math.max(0, most.excess)} over`,
        );
      }
      // An outage takes seconds whatever n is; a short run has one.
      for (const algorithm of n < 1000 ? ALGORITHMS.slice(1, 2) : ALGORITHMS) {
        const { over, bound, longestMs } = await outage(fleet, algorithm);
        if (over > bound) details.push(`${algorithm}: ${over} over in an outage, more than ${bound}`);
        // Fewer would mean that the insurance let nobody in, and nothing was measured.
        if (over < PROCESSES * SHARE) details.push(`${algorithm}: only ${over} over in an outage; the insurance did not count`);
        if (longestMs > COMMAND_TIMEOUT_MS + LATE_MS) details.push(`${algorithm}: a call waited ${Math.round(longestMs)} ms for Redis`);
        figures.push(`${algorithm} outage ${over} over of at most ${bound}, longest wait ${Math.round(longestMs)} ms`);
      }
      const { most, ran } = await crowd(fleet, { url, store: 'redis' }, Math.max(500, n));
      if (most !== CONCURRENT) details.push(`${most} calls in progress at a time, where ${CONCURRENT} may be`);
      figures.push(`${ran} calls, at most ${most} of ${CONCURRENT} in progress at a time`);
      let found = 0;
      const bugs = await plantedBugs(fleet, url);
      for (const [name, isFound] of bugs) {
        if (isFound) found += 1;
        else details.push(`a store that ${name} was not found out`);
      }
      figures.push(`${found} of ${bugs.length} planted bugs found`);
      return { held: details.length === 0, figure: `${PROCESSES} processes: ${figures.join('; ')}`, details };
    } finally {
      fleet.end();
      await services.stop();
    }
  },
};

/** What each part of the proof has to notice. */
async function plantedBugs(fleet: Fleet, url: string): Promise<readonly [name: string, isFound: boolean][]> {
  const found: [string, boolean][] = [];
  const torn = await bursts(fleet, { url, algorithm: 'fixed-window', store: 'two-steps' }, 5, () => {});
  found.push(['looks and counts in two steps', torn.length > 0]);
  for (const algorithm of ALGORITHMS) {
    const { excess: over } = await sustained(fleet, { url, algorithm, store: 'per-process' }, 15);
    found.push([`counts ${algorithm} in each process`, over > 0]);
  }
  const crowded = await crowd(fleet, { url, store: 'per-process' }, 300);
  found.push(['counts calls in progress in each process', crowded.most > CONCURRENT]);
  const open = await outage(fleet, 'sliding-window', { store: 'fail-open' });
  found.push(['lets pass what Redis does not answer', open.over > open.bound]);
  const whole = await outage(fleet, 'sliding-window', { insuredProcesses: 1 });
  found.push(['insures the whole limit in each process', whole.over > whole.bound]);
  return found;
}

/** New keys, each called at once by all processes far beyond its limit; answers what passed where it was not exactly the limit. */
async function bursts(
  fleet: Fleet,
  setting: Pick<WorkerSetting, 'url' | 'algorithm' | 'store'>,
  windows: number,
  progress: (done: number) => void,
): Promise<number[]> {
  await fleet.all({
    do: 'open',
    setting: { ...setting, requests: LIMIT, windowMs: 100 * HOUR_MS, commandTimeoutMs: PATIENT_MS, keyPrefix: `${randomUUID()}:` },
  });
  const wrong: number[] = [];
  for (let window = 0; window < windows; window += 1) {
    const { passed } = await fleet.tally({ do: 'burst', key: String(window), calls: LIMIT });
    if (passed.length !== LIMIT) wrong.push(passed.length);
    progress(window);
  }
  return wrong;
}

/** One key under load for some windows; answers by how many calls the limit was exceeded at worst. */
async function sustained(fleet: Fleet, setting: Pick<WorkerSetting, 'url' | 'algorithm' | 'store'>, windows: number) {
  await fleet.all({
    do: 'open',
    setting: { ...setting, requests: LIMIT, windowMs: SHORT_MS, commandTimeoutMs: PATIENT_MS, keyPrefix: `${randomUUID()}:` },
  });
  const running = fleet.tally({ do: 'hammer', key: 'k', lanes: 4 });
  await sleep(windows * SHORT_MS);
  await fleet.all({ do: 'stop' });
  const tally = await running;
  return { offered: tally.offered, excess: excess(setting.algorithm, tally) };
}

/** One key under load for a while; answers how many calls were in progress at once, at most. */
async function crowd(fleet: Fleet, setting: Pick<WorkerSetting, 'url' | 'store'>, lengthMs: number) {
  const shared = { algorithm: 'fixed-window', requests: 1, windowMs: 1, commandTimeoutMs: PATIENT_MS } as const;
  await fleet.all({ do: 'open', setting: { ...setting, ...shared, concurrent: CONCURRENT, keyPrefix: `${randomUUID()}:` } });
  const running = fleet.tally({ do: 'hammer', key: 'k', lanes: 4 });
  await sleep(lengthMs);
  await fleet.all({ do: 'stop' });
  const { passed } = await running;
  const changes = passed.flatMap(([from, to]) => [[from, 1] as const, [to, -1] as const]);
  // What ends as another begins was over before.
  changes.sort(([one, change], [other, otherChange]) => one - other || change - otherChange);
  let now = 0;
  let most = 0;
  for (const [, change] of changes) most = Math.max(most, (now += change));
  return { most, ran: passed.length };
}

/**
 * By how many calls a stretch of time has more than its algorithm promises; 0 or less is right. Only calls
 * that were sent and answered within it belong to it for certain. Redis counts in whole milliseconds.
 */
function excess(algorithm: LimitAlgorithm, { passed }: Tally): number {
  const most = (lengthMs: number) => Math.max(...passed.map(([from], index) => within(passed, index, from + lengthMs)));
  switch (algorithm) {
    case 'sliding-window':
      return most(SHORT_MS) - LIMIT;
    case 'fixed-window': {
      // A stretch as long as k windows touches at most k + 1.
      const lengths = [1, 5, 20];
      return Math.max(...lengths.map((count) => most(count * SHORT_MS) - LIMIT * (count + 1)));
    }
    case 'token-bucket': {
      const lengths = [1, 10, SHORT_MS, 10 * SHORT_MS];
      return Math.max(...lengths.map((lengthMs) => most(lengthMs) - Math.floor(LIMIT + ((lengthMs + 1) * LIMIT) / SHORT_MS)));
    }
  }
}

function within(passed: readonly Passed[], first: number, end: number): number {
  let count = 0;
  for (let index = first; index < passed.length; index += 1) {
    const [sent, back] = passed[index] as Passed;
    if (sent >= end) break;
    if (back < end) count += 1;
  }
  return count;
}

/** Kills Redis under load and starts an empty one; answers how many calls passed beyond the limit of the one long window. */
async function outage(fleet: Fleet, algorithm: LimitAlgorithm, bug: Partial<Pick<WorkerSetting, 'store' | 'insuredProcesses'>> = {}) {
  // Servers of our own, also where one is given in the environment: that one is not ours to kill.
  let redis: RunningServices = await startServices(['redis'], {});
  const gate = await openGate(redis.env.MCP_BLOCKS_REDIS_URL as string);
  try {
    const setting = { url: gate.url, algorithm, requests: INSURED_LIMIT, windowMs: 100 * HOUR_MS, keyPrefix: 'outage:' };
    const insured = bug.store === undefined ? { insuredProcesses: bug.insuredProcesses ?? PROCESSES } : {};
    await fleet.all({
      do: 'open',
      setting: { ...setting, store: bug.store ?? 'redis', commandTimeoutMs: COMMAND_TIMEOUT_MS, ...insured },
    });
    const running = fleet.tally({ do: 'hammer', key: 'k', lanes: 4 });
    await sleep(300);
    await redis.stop();
    await sleep(OUTAGE_MS);
    redis = await startServices(['redis'], {});
    gate.leadTo(redis.env.MCP_BLOCKS_REDIS_URL as string);
    // Longer than the longest pause between two attempts to connect, and a probe.
    await sleep(1800);
    await fleet.all({ do: 'stop' });
    const { passed, longestMs } = await running;
    return { over: passed.length - INSURED_LIMIT, bound: PROCESSES * SHARE + INSURED_LIMIT, longestMs };
  } finally {
    gate.close();
    await redis.stop();
  }
}
