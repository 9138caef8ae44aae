import { canonicalJson } from './canonical-json.js';
import { RpcError } from './errors.js';
import type { JsonValue } from './json.js';

/** The checks every `StateStore` driver makes on its arguments, so that all refuse the same. */
export const stateArguments = {
  /** @throws RpcError `invalid_params` unless the key or channel is a non-empty string. */
  key(key: string): string {
    if (typeof key !== 'string' || key === '') throw new RpcError('invalid_params', 'State key: expected a non-empty string');
    return key;
  },
  /** @throws RpcError `invalid_params` unless `ttlMs` is absent or a positive integer. */
  ttlMs<T extends number | undefined>(ttlMs: T): T {
    if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0)) {
      throw new RpcError('invalid_params', `ttlMs: expected a positive integer, got ${ttlMs}`);
    }
    return ttlMs;
  },
  /** @throws RpcError `invalid_params` unless `by` is an integer. */
  by(by: number): number {
    if (!Number.isSafeInteger(by)) throw new RpcError('invalid_params', `by: expected an integer, got ${by}`);
    return by;
  },
  /**
   * The text a value is stored and compared as.
   * @throws RpcError `invalid_params` when it is not JSON.
   */
  text(value: JsonValue): string {
    try {
      return canonicalJson(value);
    } catch (cause) {
      throw new RpcError('invalid_params', `State value: ${(cause as Error).message}`, { cause });
    }
  },
  /**
   * The next count of a counter stored as `text` (absent: it starts at 0).
   * @throws RpcError `invalid_params` when the text is no integer or the sum is beyond ±(2^53 − 1).
   */
  sum(key: string, text: string | undefined, by: number): number {
    const current: unknown = text === undefined ? 0 : JSON.parse(text);
    if (!Number.isSafeInteger(current)) throw new RpcError('invalid_params', `State key '${key}' does not hold a counter`);
    const sum = (current as number) + by;
    if (!Number.isSafeInteger(sum)) throw new RpcError('invalid_params', `The counter '${key}' would leave the range of safe integers`);
    return sum;
  },
} as const;
