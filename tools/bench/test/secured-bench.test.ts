import { expect, it } from 'vitest';
import { slopeOf } from '../src/secured/memory-rows.ts';
import { measureSecured } from '../src/secured/secured-bench.ts';

const counts = { rounds: 1, seconds: 0.01, warmUpSeconds: 0.01, requests: 64, n: 640, idle: 5 };
const pinning = { server: [], generator: [], description: 'not pinned' };
const NAMES = ['tools', 'half', 'websocket', 'workers', 'memory', 'idle'];

// How fast anything is depends on the machine: what is looked at is that everything is measured.
it('measures what the secured server keeps', { timeout: 400_000 }, async () => {
  const { sections, problems } = await measureSecured(counts, NAMES, () => {}, pinning);
  expect(problems).toEqual([]);
  expect(sections.map(({ title }) => title)).toEqual([
    'A thousand tools',
    'Latency at half load',
    'Calls over one WebSocket connection',
    'Two workers',
    'Memory over many requests',
    'What waits',
  ]);
  for (const { table, figure, note } of sections) expect(`${table} ${figure} ${note}`).not.toMatch(/NaN|undefined|Infinity/);
});

it.each([
  [[1, 3, 5, 7], 2],
  [[4, 4, 4, 4], 0],
  [[0, 2, 0, 2], 0.4],
])('the slope of %j is %d', (values, expected) => {
  expect(slopeOf(values.map((value, at) => [at, value] as const))).toBeCloseTo(expected);
});
