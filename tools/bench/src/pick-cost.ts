import { parseArgs } from 'node:util';
import {
  type Balancer,
  BoundedStickyBalancer,
  type Candidate,
  LeastConnectionsBalancer,
  LeastRequestBalancer,
  LocalityBalancer,
  PeakEwmaBalancer,
  type PickInfo,
  RoundRobinBalancer,
  RoutingRulesBalancer,
  SessionAffinityBalancer,
  WeightedBalancer,
} from '@mcp-blocks/distributed-mcp-pattern';
import type { Progress } from './progress.ts';
import { median } from './statistics.ts';

export const PICK_COST_USAGE = `Usage: npm run bench -- balance [options]

Measures what one choice of a node costs with each balancing strategy among 10, 100 and 1,000 nodes, in
nanoseconds and as a ratio to stepping through an array in the same round.

  --rounds N   rounds, interleaved; the table has their medians (default 7)
  --quick      one short round, to see that everything runs: figures of no worth`;

/** Milliseconds per strategy, size and round. */
const SLICE_MS = 60;
const QUICK_SLICE_MS = 2;
const BATCH = 256;

interface Contender {
  readonly name: string;
  readonly make: () => Balancer;
  /** What the requests are like. Default: nothing is known of them. */
  readonly info?: (turn: number) => PickInfo;
}

const KEYS = Array.from({ length: 1024 }, (_, index) => ({
  sessionId: `session-${index}`,
  method: 'tools/call',
  tool: `tool_${index % 7}`,
}));
const session = (turn: number): PickInfo => KEYS[turn % KEYS.length] as PickInfo;
const p2c = () => new LeastRequestBalancer();

const CONTENDERS: readonly Contender[] = [
  { name: 'round-robin', make: () => new RoundRobinBalancer() },
  { name: 'p2c', make: p2c },
  { name: 'peak-ewma', make: () => new PeakEwmaBalancer() },
  { name: 'least-connections', make: () => new LeastConnectionsBalancer() },
  { name: 'weighted', make: () => new WeightedBalancer() },
  { name: 'sticky, bounded load', make: () => new BoundedStickyBalancer(), info: session },
  { name: 'sessions, rendezvous', make: () => new SessionAffinityBalancer(p2c()), info: session },
  { name: 'region, then p2c', make: () => new LocalityBalancer({ region: 'here', strategy: p2c }) },
  {
    name: 'two rules and a canary, then p2c',
    make: () =>
      new RoutingRulesBalancer({
        rules: [
          { tools: ['ocr_*'], nodes: { capability: 'ocr' } },
          { methods: ['resources/*'], nodes: { region: 'there' } },
          { nodes: { version: '2.*' }, percentage: 5 },
        ],
        strategy: p2c,
      }),
    info: session,
  },
];

const SIZES = [10, 100, 1_000] as const;

/** `npm run bench -- balance`: prints the table. Resolves with the exit code. */
export async function benchPickCost(args: readonly string[], progress: Progress): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '7' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(PICK_COST_USAGE);
    return 0;
  }
  const rounds = values.quick ? 1 : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: '${values.rounds}' is not a whole number of at least 1`);
  const rows = measurePickCost(rounds, values.quick ? QUICK_SLICE_MS : SLICE_MS, progress);
  progress.end();
  console.log(pickCostTable(rows));
  const cheapest = rows.find(({ name }) => name === 'p2c')?.cells.at(-1);
  console.log(`\nbench: p2c among 1,000 nodes ${cheapest?.nanoseconds.toFixed(0)} ns a pick`);
  return 0;
}

/** What one strategy costs, for each of the sizes. */
export interface PickCostRow {
  readonly name: string;
  readonly cells: readonly { readonly nanoseconds: number; readonly ofArrayStep: number }[];
}

/** Every strategy once for every size, then all of them again: medians of the rounds, and of their ratios. */
export function measurePickCost(rounds: number, sliceMs: number, progress: Progress): PickCostRow[] {
  const subjects = SIZES.map((size) => {
    const nodes = loadedNodes(size);
    let turn = 0;
    const step = { name: 'array step', pick: () => (nodes[(turn += 1) % nodes.length] as Candidate).inFlight };
    return [step, ...CONTENDERS.map((contender) => subjectOf(contender, nodes))];
  });
  const times = subjects.map((ofSize) => ofSize.map((): number[] => []));
  // The first round only warms up.
  for (let round = 0; round <= rounds; round += 1) {
    progress.step(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
    for (const [at, ofSize] of subjects.entries()) {
      for (const [which, { pick }] of ofSize.entries()) {
        const nanoseconds = timePicks(pick, sliceMs);
        if (round > 0) times[at]?.[which]?.push(nanoseconds);
      }
    }
  }
  return (subjects[0] ?? []).map(({ name }, which) => ({
    name,
    cells: times.map((ofSize) => {
      const own = ofSize[which] ?? [];
      const steps = ofSize[0] ?? [];
      return { nanoseconds: median(own), ofArrayStep: median(own.map((time, round) => time / (steps[round] as number))) };
    }),
  }));
}

/** The table, in Markdown. */
export function pickCostTable(rows: readonly PickCostRow[]): string {
  return [
    `| strategy | ${SIZES.map((size) => `${size.toLocaleString('en')} nodes, ns`).join(' | ')} | of an array step |`,
    `|---|${SIZES.map(() => '--:').join('|')}|--:|`,
    ...rows.map(
      ({ name, cells }) =>
        `| ${name} | ${cells.map(({ nanoseconds }) => nanoseconds.toFixed(nanoseconds < 100 ? 1 : 0)).join(' | ')} | ${cells
          .map(({ ofArrayStep }) => `${ofArrayStep.toFixed(ofArrayStep < 10 ? 1 : 0)} x`)
          .join(', ')} |`,
    ),
  ].join('\n');
}

function subjectOf({ name, make, info = () => NOTHING }: Contender, nodes: readonly Candidate[]) {
  const picker = make().picker(nodes);
  let turn = 0;
  const pick = () => {
    const result = picker.pick(info((turn += 1)));
    if (result.kind !== 'complete') throw new Error(`${name}: ${result.reason}`);
    return result.node.inFlight;
  };
  return { name, pick };
}

const NOTHING: PickInfo = {};

/** Nodes with some load, the same in every run. */
function loadedNodes(count: number): readonly Candidate[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `node-${index}`,
    inFlight: (index * 7) % 5,
    latencyMs: 5 + ((index * 13) % 20),
    weight: 1 + (index % 3),
    region: 'here',
    version: index % 10 === 0 ? '2.0.0' : '1.0.0',
  }));
}

/** Nanoseconds of one pick. The sum keeps the engine from leaving the picks out. */
function timePicks(pick: () => number, sliceMs: number): number {
  let picks = 0;
  let sum = 0;
  const startedAt = performance.now();
  let elapsedMs = 0;
  while (elapsedMs < sliceMs) {
    for (let index = 0; index < BATCH; index += 1) sum += pick();
    picks += BATCH;
    elapsedMs = performance.now() - startedAt;
  }
  if (Number.isNaN(sum)) throw new Error('a node without load');
  return (elapsedMs * 1e6) / picks;
}
