import { expect, it } from 'vitest';
import { clientHeadline, clientTables, measureClient } from '../src/client/client-bench.ts';

// How fast anything is depends on the machine: what is looked at is that everything is measured.
it('measures calls, the cache and the queue of the client', async () => {
  const figures = await measureClient({ rounds: 1, callsPerRound: 10, cacheHitsPerRound: 10, sizes: [10, 100] }, () => {});
  expect(figures.calls.map(({ way }) => way)).toEqual(['HTTP', 'WebSocket']);
  expect(figures.queue.map(({ waiting }) => waiting)).toEqual([10, 100]);
  const all = [
    ...figures.calls.flatMap(({ bareMicros, oursMicros, bareCpuMicros, oursCpuMicros, ratio }) => [
      bareMicros,
      oursMicros,
      bareCpuMicros,
      oursCpuMicros,
      ratio,
    ]),
    ...figures.cache.map(({ micros }) => micros),
    ...figures.queue.flatMap(({ insertMicros, cancelMicros, popMicros }) => [insertMicros, cancelMicros, popMicros]),
  ];
  expect(all).toHaveLength(18);
  expect(all.every((figure) => figure > 0 && Number.isFinite(figure))).toBe(true);
  expect(clientTables(figures)).toContain('| WebSocket |');
});

it('says what the rows are in relation to', () => {
  const figures = {
    calls: [
      { way: 'HTTP', bareMicros: 1000, oursMicros: 1100, bareCpuMicros: 500, oursCpuMicros: 550, ratio: 1.1, ratioMin: 1, ratioMax: 1.25 },
    ],
    cache: [{ what: 'a list', micros: 2.345 }],
    queue: [
      { waiting: 1000, insertMicros: 2, cancelMicros: 4, popMicros: 8 },
      { waiting: 100_000, insertMicros: 3, cancelMicros: 4, popMicros: 12 },
    ],
  };
  const tables = clientTables(figures);
  expect(tables).toContain('| HTTP | 1000 | 1100 | 10.0 % | 25.0 %–0.0 % | 550 | 500 |');
  expect(tables).toContain('| a list | 2.35 |');
  expect(clientHeadline(figures)).toBe(
    'bench: a call costs 10.0 % more over HTTP than with the bare SDK client; an answer from the cache 2.3 µs (a list); with 100000 waiting: insert 3.0, cancel 4.0, pop 12.0 µs',
  );
  expect(tables).toContain('| 100000 | 3.00 | 4.00 | 12.00 | 1.50, 1.00, 1.50 |');
});
