import type { Random } from '@mcp-blocks/core';

/** What {@link backoffDelay} grows from and to. Times in milliseconds. */
export interface BackoffOptions {
  readonly initialDelay: number;
  readonly maxDelay: number;
  readonly backoffMultiplier: number;
}

/**
 * Exponential backoff with full jitter: a random time below a bound that grows with every failure, so
 * that clients cut off together do not come back together.
 *
 * @param failures - failures in a row so far, from 1.
 * @returns milliseconds in [0, min(maxDelay, initialDelay × backoffMultiplier^(failures - 1))).
 */
export function backoffDelay(failures: number, options: BackoffOptions, random: Random): number {
  const bound = Math.min(options.maxDelay, options.initialDelay * options.backoffMultiplier ** (failures - 1));
  return Math.floor(random() * bound);
}
