import { z } from 'zod';

/** Milliseconds and counts: whole numbers from 1 to what a timer can wait. */
export const positive = (fallback: number) =>
  z.int('expected a whole number').min(1, 'expected 1 or more').max(2_147_483_647).default(fallback);

/** The same without a default. */
export const positiveOrNone = z.int('expected a whole number').min(1, 'expected 1 or more').max(2_147_483_647).exactOptional();

/** A part of a whole. */
export const part = z.number('expected a number').min(0, 'expected 0 or more').max(1, 'expected at most 1');

export function callable<F>() {
  return z.custom<F>((value) => typeof value === 'function', 'expected a function');
}
