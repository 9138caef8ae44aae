import { expect, it } from 'vitest';
import { measurePickCost, pickCostTable } from '../src/pick-cost.ts';

it('measures every strategy for every size, and puts the medians into a table', () => {
  const steps: string[] = [];
  const rows = measurePickCost(1, 0.1, { step: (text) => steps.push(text), note: () => {}, end: () => {} });
  expect(steps).toEqual(['warming up', 'round 1 of 1']);
  expect(rows.length).toBeGreaterThan(8);
  for (const { cells } of rows) {
    expect(cells).toHaveLength(3);
    for (const { nanoseconds, ofArrayStep } of cells) {
      expect(nanoseconds).toBeGreaterThan(0);
      expect(ofArrayStep).toBeGreaterThan(0);
    }
  }
  expect(rows[0]?.cells.map(({ ofArrayStep }) => ofArrayStep)).toEqual([1, 1, 1]);
});

it('writes one line for each strategy', () => {
  const cells = [12.34, 123.4, 1234.5].map((nanoseconds) => ({ nanoseconds, ofArrayStep: nanoseconds / 2 }));
  expect(
    pickCostTable([{ name: 'p2c', cells }])
      .split('\n')
      .at(-1),
  ).toBe('| p2c | 12.3 | 123 | 1235 | 6.2 x, 62 x, 617 x |');
});
