import type { Random } from '@mcp-blocks/core';

const INITIAL_MS = 500;
const MAX_MS = 15_000;

/**
 * Exponential backoff with full jitter.
 *
 * @param failures - failures in a row so far, from 1.
 * @returns milliseconds in [0, min(15,000, 500 × 2^(failures - 1))).
 */
export function backoffDelayMs(failures: number, random: Random): number {
  return Math.floor(random() * Math.min(MAX_MS, INITIAL_MS * 2 ** (failures - 1)));
}
