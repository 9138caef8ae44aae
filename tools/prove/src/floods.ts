import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANSWERS_UNREAD, ATTACKS, type AttackName, slowReadersOf } from './floods-attacks.ts';
import { GoodClient } from './floods-good-client.ts';
import { attack, FloodedServer } from './floods-server-process.ts';
import { LONG_BYTES, type ServerSetting } from './floods-setting.ts';
import type { Finding, Proof } from './proof.ts';

const MIB = 1_048_576;

/** From how many sockets a run is long enough for its times to count. */
const TIMED = 5000;

/** Slowdown of the good client's p99 that is accepted. */
const MAX_RATIO = 2;

/** Listeners, each with its own bounds. */
const LISTENERS = 3;

/** Sockets beyond the bounds: the good client's, listening ones, those that are being closed. */
const SPARE_SOCKETS = 100;

/** What the process may grow by during an attack, beside what its bounds allow, and by what its objects may have grown afterwards. */
const MAX_GROWTH_BYTES = 64 * MIB;
const MAX_KEPT_BYTES = 24 * MIB;

/** What a socket without a connection may take, and a connection that does not read: as many answers as may be in progress, and what waits. */
const WAITING_SOCKET_BYTES = 32 * 1024;
const SLOW_READER_BYTES = ANSWERS_UNREAD * LONG_BYTES + 2 * MIB;

/** What one attack did to the server and to its good client. */
interface Damage {
  readonly grownBytes: number;
  readonly keptBytes: number;
  readonly peakSockets: number;
  readonly calls: number;
  readonly baselineP99Ms: number;
  readonly attackP99Ms: number;
}

/**
 * Attackers, each kind by itself, do not make a server grow beyond its bounds, nor a good client of the same server
 * wait: its p99 under attack is less than twice that of the minutes around. A server without these bounds must be
 * found out.
 *
 * Attackers are processes of the lowest priority, so that the time they burn themselves is not what the good client
 * waits for; what the server and the kernel do on their behalf is. They open at most 2,000 sockets a second: whoever
 * asks for more work than a core can do gets it, and only rate limits and more cores help against that.
 */
export const proof: Proof = {
  name: 'floods',
  n: 10_000,
  async run(n, progress): Promise<Finding> {
    const names = Object.keys(ATTACKS) as AttackName[];
    const isTimed = n >= TIMED;
    const rounds = isTimed ? 3 : 1;
    const load = loadavg()[0] as number;
    const damages = new Map<AttackName, Damage[]>(names.map((name) => [name, []]));
    const details: string[] = [];
    const sound = settingFor(n);
    const server = await FloodedServer.start(sound);
    try {
      const good = await GoodClient.start(server.ports);
      // The first calls are to warm up.
      await sleep(timesFor(n).baselineMs);
      for (let round = 0; round < rounds; round += 1) {
        for (const [index, name] of names.entries()) {
          damages.get(name)?.push(await suffer(server, good, name, n));
          progress(Math.floor((n * (round * names.length + index + 1)) / (rounds * names.length)));
        }
      }
      await good.close();
    } finally {
      server.stop();
    }
    const ratios = names.map((name) =>
      median((damages.get(name) ?? []).map(({ attackP99Ms, baselineP99Ms }) => attackP99Ms / baselineP99Ms)),
    );
    for (const [index, name] of names.entries()) {
      for (const damage of damages.get(name) ?? []) details.push(...broken(name, damage, sound, n));
      if (isTimed && (ratios[index] as number) >= MAX_RATIO)
        details.push(`${name}: the good client's p99 was ${ratios[index]?.toFixed(2)} times its baseline`);
    }
    const bugs = await plantedBugs(n);
    for (const [bug, isFound] of bugs) if (!isFound) details.push(`a server ${bug} was not found out`);
    const all = [...damages.values()].flat();
    const most = (of: (damage: Damage) => number) => Math.max(...all.map(of));
    return {
      held: details.length === 0,
      details,
      table: tableOf(names, damages, ratios),
      figure: [
        `${names.length} attacks, ${n} sockets: the server grew by at most ${mib(most(({ grownBytes }) => grownBytes))} MiB`,
        `kept at most ${mib(most(({ keptBytes }) => keptBytes))} MiB and held at most ${most(({ peakSockets }) => peakSockets)} sockets`,
        `${all.reduce((sum, { calls }) => sum + calls, 0)} calls of a good client, none failed, p99 at most ${Math.max(...ratios).toFixed(2)} times its baseline${isTimed ? '' : ' (too short to count)'}`,
        `${bugs.filter(([, isFound]) => isFound).length} of ${bugs.length} planted bugs found; load average before ${load.toFixed(1)}`,
      ].join('; '),
    };
  },
};

function timesFor(n: number) {
  return n >= TIMED ? { baselineMs: 2000, attackMs: 1000 + n / 2 } : { baselineMs: 300, attackMs: 1500 };
}

function settingFor(n: number): ServerSetting {
  return {
    maxHandshakes: Math.min(1000, Math.ceil(n / 12)),
    handshakeTimeoutMs: 3000,
    maxMessageBytes: MIB,
    maxBufferedBytes: MIB,
    slowReaderTimeoutMs: 1000,
  };
}

/** Quiet, attack, quiet again. */
async function suffer(server: FloodedServer, good: GoodClient, name: AttackName, n: number, times = timesFor(n)): Promise<Damage> {
  const { baselineMs, attackMs } = times;
  const before = await server.usage();
  await good.take();
  await sleep(baselineMs);
  const quiet = await good.take();
  await attack(name, { ports: server.ports, sockets: n, until: Date.now() + attackMs });
  const attacked = await good.take();
  // What was open closes when the attacker has ended.
  await sleep(baselineMs / 2);
  const after = await server.usage();
  await good.take();
  await sleep(baselineMs / 2);
  quiet.push(...(await good.take()));
  return {
    grownBytes: after.peakResidentBytes - before.residentBytes,
    keptBytes: after.heapBytes - before.heapBytes,
    peakSockets: after.peakSockets,
    calls: quiet.length + attacked.length,
    baselineP99Ms: p99(quiet),
    attackP99Ms: p99(attacked),
  };
}

/** The bounds that did not hold. */
function broken(name: AttackName, { grownBytes, keptBytes, peakSockets }: Damage, { maxHandshakes }: ServerSetting, n: number): string[] {
  const problems: string[] = [];
  const maxGrownBytes = maxGrowth(name, maxHandshakes, n);
  if (grownBytes > maxGrownBytes) problems.push(`${name}: the server grew by ${mib(grownBytes)} MiB, more than ${mib(maxGrownBytes)}`);
  if (keptBytes > MAX_KEPT_BYTES) problems.push(`${name}: the server kept ${mib(keptBytes)} MiB, more than ${mib(MAX_KEPT_BYTES)}`);
  const maxSockets = LISTENERS * maxHandshakes + Math.min(n, SPARE_SOCKETS);
  if (peakSockets > maxSockets) problems.push(`${name}: the server held ${peakSockets} sockets, more than ${maxSockets}`);
  return problems;
}

/** What the bounds of the server allow an attack to make it take. */
function maxGrowth(name: AttackName, maxHandshakes: number, n: number): number {
  if (name === 'slow readers') return MAX_GROWTH_BYTES + slowReadersOf(n) * SLOW_READER_BYTES;
  if (name.includes('handshakes') || name.includes('sockets')) return MAX_GROWTH_BYTES + LISTENERS * maxHandshakes * WAITING_SOCKET_BYTES;
  return MAX_GROWTH_BYTES;
}

/** Long enough for a bug to show on a busy machine. */
const BUG_TIMES = { baselineMs: 100, attackMs: 5000 };

/** Servers with a bound switched off, and the attacks that must tell. */
async function plantedBugs(n: number): Promise<readonly (readonly [bug: string, isFound: boolean])[]> {
  const bugs: readonly [bug: string, attack: AttackName, change: Partial<ServerSetting>][] = [
    ['that lets any number of sockets wait', 'half-open sockets', { maxHandshakes: 1_000_000, handshakeTimeoutMs: 600_000 }],
    ['that inflates whatever comes', 'deflate bombs', { maxMessageBytes: 1024 * MIB }],
    ['that takes messages of any length', 'endless messages', { maxMessageBytes: 1024 * MIB }],
  ];
  const found: [string, boolean][] = [];
  for (const [bug, name, change] of bugs) {
    const server = await FloodedServer.start({ ...settingFor(n), ...change });
    try {
      const good = await GoodClient.start(server.ports);
      try {
        found.push([bug, broken(name, await suffer(server, good, name, n, BUG_TIMES), settingFor(n), n).length > 0]);
      } finally {
        await good.close();
      }
    } catch {
      // A server that an attack has ended is a bug that was found.
      found.push([bug, true]);
    } finally {
      server.stop();
    }
  }
  return found;
}

function tableOf(names: readonly AttackName[], damages: ReadonlyMap<AttackName, readonly Damage[]>, ratios: readonly number[]): string {
  const lines = names.map((name, index) => {
    const all = damages.get(name) ?? [];
    const of = (figure: (damage: Damage) => number) => all.map(figure);
    return `| ${name} | ${mib(Math.max(...of(({ grownBytes }) => grownBytes)))} | ${mib(Math.max(...of(({ keptBytes }) => keptBytes)))} | ${Math.max(...of(({ peakSockets }) => peakSockets))} | ${median(of(({ baselineP99Ms }) => baselineP99Ms)).toFixed(1)} | ${median(of(({ attackP99Ms }) => attackP99Ms)).toFixed(1)} | ${ratios[index]?.toFixed(2)} |`;
  });
  return [
    '| attack | grown by, MiB | kept, MiB | sockets | p99 in quiet, ms | p99 under attack, ms | ratio |',
    '|---|--:|--:|--:|--:|--:|--:|',
    ...lines,
  ].join('\n');
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(0.99 * sorted.length) - 1)] ?? Number.NaN;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
