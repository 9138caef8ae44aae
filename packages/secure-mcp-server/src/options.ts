import { ConfigurationError } from '@mcp-blocks/core';

/** Bounds of an integer option. */
interface IntegerBounds {
  readonly fallback: number;
  readonly min?: number;
  readonly max?: number;
}

/** @throws ConfigurationError naming the option and the value it does not accept. */
export function integerOption(
  option: string,
  value: number | undefined,
  { fallback, min = 1, max = Number.MAX_SAFE_INTEGER }: IntegerBounds,
): number {
  if (value === undefined) return fallback;
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new ConfigurationError(option, `expected an integer from ${min} to ${max}, got ${String(value)}`);
  }
  return value;
}

/** @throws ConfigurationError unless `value` is a URL path such as `/mcp`. */
export function pathOption(option: string, value: string | undefined, fallback: string): string {
  if (value === undefined) return fallback;
  if (!/^\/[^?#\s]*$/.test(value)) throw new ConfigurationError(option, `expected a URL path such as '/mcp', got '${value}'`);
  return value;
}
