import { ConfigurationError } from '@mcp-blocks/core';

/** Bounds of {@link checkInteger}. */
export interface IntegerRange {
  readonly min: number;
  readonly max?: number;
}

/** Largest delay a Node timer can wait: 2^31 − 1 ms, about 24.8 days. */
export const MAX_TIMER_MS = 2_147_483_647;

/** @throws ConfigurationError naming the option and the value that is no integer in the range. */
export function checkInteger(option: string, value: number, { min, max = Number.MAX_SAFE_INTEGER }: IntegerRange): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new ConfigurationError(option, `expected an integer ${range}, got ${value}`);
}

/** A delay a timer can hold. */
export function checkDelay(option: string, valueMs: number): number {
  return checkInteger(option, valueMs, { min: 1, max: MAX_TIMER_MS });
}
