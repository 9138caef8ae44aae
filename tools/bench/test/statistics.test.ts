import { expect, it } from 'vitest';
import { median, percentile } from '../src/statistics.ts';

it.each([
  [[3], 3],
  [[5, 1, 3], 3],
  [[4, 1, 3, 2], 2.5],
  [[], Number.NaN],
])('the median of %j is %d', (values, expected) => {
  expect(median(values)).toBe(expected);
});

it.each([
  [50, 50],
  [99, 99],
  [100, 100],
  [0, 1],
  [0.5, 1],
])('percentile %d of 1 to 100, in any order, is %d', (percent, expected) => {
  const values = Array.from({ length: 100 }, (_, index) => ((index * 37) % 100) + 1);
  expect(percentile(values, percent)).toBe(expected);
});

it('does not reorder what it is given', () => {
  const values = [3, 1, 2];
  median(values);
  percentile(values, 50);
  expect(values).toEqual([3, 1, 2]);
});
