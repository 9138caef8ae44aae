import { type Clock, ConfigurationError, type Random } from '@mcp-blocks/core';
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

/** What everything that waits takes. */
export const machineOptions = {
  clock: z.custom<Clock>((value) => typeof (value as Clock | undefined)?.now === 'function', 'expected a Clock').optional(),
  random: callable<Random>().optional(),
};

/**
 * Checks options and fills in the defaults.
 * @throws ConfigurationError naming the option that is wrong.
 */
export function parseOptions<S extends z.ZodType>(schema: S, options: unknown): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0] as z.core.$ZodIssue;
  if (issue.code === 'unrecognized_keys')
    throw new ConfigurationError(optionPath([...issue.path, issue.keys[0] ?? '']), 'is not an option');
  throw new ConfigurationError(optionPath(issue.path), issue.message);
}

function optionPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}
