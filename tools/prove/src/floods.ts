import { once } from 'node:events';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANSWERS_UNREAD, ATTACKS, type AttackName, slowReadersOf } from './floods-attacks.ts';
import { hasPlaces } from './floods-process.ts';
import { LONG_BYTES, type ServerSetting, type Usage } from './floods-setting.ts';
import { FloodsWorld } from './floods-world.ts';
import type { Finding, Proof } from './proof.ts';

const MIB = 1_048_576;

/** From how many sockets a run is long enough for its times to count. */
const TIMED = 5000;

/** Slowdown of the good client's p99 that is accepted. */
const MAX_RATIO = 2;

/** Halves of attack and of comparison, for each attack; and how long what was open takes to close. */
const ROUNDS = 3;
const SETTLE_MS = 1000;

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

/** What an attack made of the server. */
interface Growth {
  readonly grownBytes: number;
  readonly keptBytes: number;
  readonly peakSockets: number;
}

/** What one attack did to the server and to its good client. */
interface Damage extends Growth {
  readonly after: Usage;
  readonly calls: number;
  /** While the attackers were busy with the sink. */
  readonly controlP99Ms: number;
  readonly attackP99Ms: number;
}

/**
 * Attackers, each kind by itself, do not make a server grow beyond its bounds, nor a good client of the same server
 * wait: its p99 under attack is less than twice its p99 while the same attackers are busy with somebody else. A
 * server without these bounds must be found out.
 *
 * What attackers cost the machine, whomever they attack, is not what a server can help. So each round has two
 * halves of the same length, in changing order: the attackers work on the server, and they work on a sink, a bare
 * process that agrees to everything, reads 64 KiB and hangs up. The good client calls the server in both. The
 * server has the first core for itself; the good client has the second one, attackers and sink what it leaves of
 * that (`nice`). The ratio is the median of the rounds. It counts from 5,000 sockets on, on a machine of two
 * cores with `taskset`; other work on these cores goes into both halves, and should not be there.
 *
 * Attackers open at most 2,000 sockets a second: whoever asks for more work than a core can do gets it, and only
 * rate limits and more cores help against that.
 */
export const proof: Proof = {
  name: 'floods',
  n: 10_000,
  async run(n, progress): Promise<Finding> {
    const names = Object.keys(ATTACKS) as AttackName[];
    const isTimed = n >= TIMED && hasPlaces();
    const rounds = isTimed ? ROUNDS : 1;
    const attackMs = isTimed ? 1000 + n / 2 : 700;
    const load = loadavg()[0] as number;
    const damages = new Map<AttackName, Damage[]>(names.map((name) => [name, []]));
    const details: string[] = [];
    const sound = settingFor(n);
    const world = await FloodsWorld.start(sound, isTimed);
    try {
      // The first calls are to warm up.
      if (isTimed) await sleep(2 * SETTLE_MS);
      let before = await world.server.ask();
      for (let round = 0; round < rounds; round += 1) {
        for (const [index, name] of names.entries()) {
          const damage = await suffer(world, name, n, attackMs, before, isTimed ? round : undefined);
          damages.get(name)?.push(damage);
          details.push(...broken(name, damage, sound, n));
          before = damage.after;
          progress(Math.floor((n * (round * names.length + index + 1)) / (rounds * names.length)));
        }
      }
    } finally {
      world.stop();
    }
    const ratios = names.map((name) =>
      median((damages.get(name) ?? []).map(({ attackP99Ms, controlP99Ms }) => attackP99Ms / controlP99Ms)),
    );
    for (const [index, name] of names.entries()) {
      // Not a number: no call was answered.
      if (isTimed && !((ratios[index] as number) < MAX_RATIO))
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
        `${all.reduce((sum, { calls }) => sum + calls, 0)} calls of a good client, none failed, p99 ${isTimed ? `at most ${Math.max(...ratios).toFixed(2)} times its baseline` : 'not compared'}`,
        `${bugs.filter(([, isFound]) => isFound).length} of ${bugs.length} planted bugs found; load average before ${load.toFixed(1)}`,
      ].join('; '),
    };
  },
};

function settingFor(n: number): ServerSetting {
  return {
    maxHandshakes: Math.min(1000, Math.ceil(n / 12)),
    handshakeTimeoutMs: 3000,
    maxMessageBytes: MIB,
    maxBufferedBytes: MIB,
    slowReaderTimeoutMs: 1000,
  };
}

/** An attack on the server, and where a round is given, the same on a sink. */
async function suffer(
  world: FloodsWorld,
  name: AttackName,
  n: number,
  attackMs: number,
  before: Usage,
  round: number | undefined,
): Promise<Damage> {
  const latenciesMs = { server: [] as number[], sink: [] as number[] };
  const victims =
    round === undefined ? (['server'] as const) : round % 2 === 0 ? (['sink', 'server'] as const) : (['server', 'sink'] as const);
  for (const victim of victims) {
    await world.goodClient.ask();
    await world.attack(name, n, attackMs, victim);
    latenciesMs[victim] = await world.goodClient.ask();
    // What was open closes when the attacker has ended.
    await sleep(round === undefined ? SETTLE_MS / 10 : SETTLE_MS);
  }
  const after = await world.server.ask();
  return {
    after,
    ...growth(before, after),
    calls: latenciesMs.server.length + latenciesMs.sink.length,
    controlP99Ms: p99(latenciesMs.sink),
    attackP99Ms: p99(latenciesMs.server),
  };
}

function growth(before: Usage, after: Usage): Growth {
  return {
    grownBytes: after.peakResidentBytes - before.residentBytes,
    keptBytes: after.heapBytes - before.heapBytes,
    peakSockets: after.peakSockets,
  };
}

/** The bounds that did not hold. */
function broken(name: AttackName, { grownBytes, keptBytes, peakSockets }: Growth, { maxHandshakes }: ServerSetting, n: number): string[] {
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

/** How long a bug may take to show on a busy machine, and how often is looked. */
const BUG_MS = 60_000;
const LOOK_MS = 200;

/** Servers with a bound switched off, and the attacks that must tell. */
async function plantedBugs(n: number): Promise<readonly (readonly [bug: string, isFound: boolean])[]> {
  const bugs: readonly [bug: string, attack: AttackName, change: Partial<ServerSetting>][] = [
    ['that lets any number of sockets wait', 'half-open sockets', { maxHandshakes: 1_000_000, handshakeTimeoutMs: 600_000 }],
    ['that inflates whatever comes', 'deflate bombs', { maxMessageBytes: 1024 * MIB }],
    ['that takes messages of any length', 'endless messages', { maxMessageBytes: 1024 * MIB }],
  ];
  return Promise.all(bugs.map(async ([bug, name, change]) => [bug, await isFoundOut({ ...settingFor(n), ...change }, name, n)] as const));
}

/** Whether an attack breaks a bound before its time is over. */
async function isFoundOut(setting: ServerSetting, name: AttackName, n: number): Promise<boolean> {
  const world = await FloodsWorld.start(setting, false);
  const before = await world.server.ask();
  const attacker = world.begin(name, n, BUG_MS);
  const gone = once(attacker, 'exit');
  try {
    while (attacker.exitCode === null) {
      await sleep(LOOK_MS);
      if (broken(name, growth(before, await world.server.ask()), settingFor(n), n).length > 0) return true;
    }
    return false;
  } catch {
    // A server that an attack has ended is a bug that was found.
    return true;
  } finally {
    attacker.kill('SIGKILL');
    await gone;
    world.stop();
  }
}

function tableOf(names: readonly AttackName[], damages: ReadonlyMap<AttackName, readonly Damage[]>, ratios: readonly number[]): string {
  const lines = names.map((name, index) => {
    const all = damages.get(name) ?? [];
    const of = (figure: (damage: Damage) => number) => all.map(figure);
    return `| ${name} | ${mib(Math.max(...of(({ grownBytes }) => grownBytes)))} | ${mib(Math.max(...of(({ keptBytes }) => keptBytes)))} | ${Math.max(...of(({ peakSockets }) => peakSockets))} | ${median(of(({ controlP99Ms }) => controlP99Ms)).toFixed(1)} | ${median(of(({ attackP99Ms }) => attackP99Ms)).toFixed(1)} | ${ratios[index]?.toFixed(2)} |`;
  });
  return [
    '| attack | grown by, MiB | kept, MiB | sockets | p99 beside, ms | p99 under attack, ms | ratio |',
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
