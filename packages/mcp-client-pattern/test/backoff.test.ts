import fc from 'fast-check';
import { expect, it } from 'vitest';
import { backoffDelay } from '../src/backoff.js';

const options = fc.record({
  initialDelay: fc.integer({ min: 1, max: 10_000 }),
  maxDelay: fc.integer({ min: 10_000, max: 100_000 }),
  backoffMultiplier: fc.double({ min: 1, max: 10, noNaN: true }),
});

it('stays below its bound, which grows to maxDelay and no further', () => {
  fc.assert(
    fc.property(
      options,
      fc.integer({ min: 1, max: 2000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (given, failures, random) => {
        const delay = backoffDelay(failures, given, () => random);
        expect(Number.isInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(given.maxDelay);
        expect(delay).toBeLessThanOrEqual(given.initialDelay * given.backoffMultiplier ** (failures - 1));
      },
    ),
  );
});

it('never has a smaller bound after more failures', () => {
  const bound = (failures: number, given: Parameters<typeof backoffDelay>[1]) => backoffDelay(failures, given, () => 0.999_999);
  fc.assert(
    fc.property(options, fc.integer({ min: 1, max: 500 }), (given, failures) => {
      expect(bound(failures + 1, given)).toBeGreaterThanOrEqual(bound(failures, given));
    }),
  );
});

it('uses the whole range below the bound', () => {
  const given = { initialDelay: 1000, maxDelay: 30_000, backoffMultiplier: 1.5 };
  expect([0, 0.5, 0.999].map((random) => backoffDelay(1, given, () => random))).toEqual([0, 500, 999]);
  expect([1, 2, 3, 9, 10, 50].map((failures) => backoffDelay(failures, given, () => 0.5))).toEqual([
    500, 750, 1125, 12_814, 15_000, 15_000,
  ]);
});
