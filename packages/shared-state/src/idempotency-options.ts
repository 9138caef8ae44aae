import { type Clock, ConfigurationError, type StateStore, systemClock } from '@mcp-blocks/core';

/** Options of {@link Idempotency}. Times in milliseconds. */
export interface IdempotencyOptions {
  /** Where records are kept: one for all nodes of the service. Its owner closes it. */
  readonly store: StateStore;
  /** The service the nodes belong to; keys of different services have nothing to do with each other. */
  readonly serviceName: string;
  /**
   * How long the outcome of a call is known after it; twice `leaseMs` or more. A key that comes again later is
   * a new call. Default: 86,400,000 (a day).
   */
  readonly ttlMs?: number;
  /**
   * How long after its last sign of life a node counts as gone, with the calls it had begun; 100 or more.
   * It gives one three times in that while. Default: 10,000.
   */
  readonly leaseMs?: number;
  /** How long a call waits for another one with the same key that is in progress; 0 or more. Default: 30,000. */
  readonly waitMs?: number;
  /** A larger result goes to the first caller only; 1 or more. Default: 262,144 (256 KiB). */
  readonly maxResultBytes?: number;
  /**
   * What becomes of a call whose key names one that was begun, and that nobody will hear the end of: its node
   * is gone, or it was given up half-way. `refuse` (default): it fails with `ambiguous_outcome`, so that the
   * effect never comes twice. `retry`: it is carried out, so that the effect comes at least once.
   */
  readonly onUnknown?: 'refuse' | 'retry';
  /**
   * What becomes of a call with a key while the store cannot be reached. `refuse` (default): it fails with
   * `unavailable`. `run`: it is carried out as if it had no key.
   */
  readonly onStoreFailure?: 'refuse' | 'run';
  readonly clock?: Clock;
  /** Names this process among those that share the store; each time another name. Default: `crypto.randomUUID`. */
  readonly newId?: () => string;
}

/** The options with every default in place. */
export type ResolvedIdempotencyOptions = Required<IdempotencyOptions>;

const LONGEST_MS = 2_147_483_647;

/** @throws ConfigurationError naming the option that is missing, unknown or out of range. */
export function checkIdempotencyOptions(options: IdempotencyOptions): ResolvedIdempotencyOptions {
  const resolved: ResolvedIdempotencyOptions = {
    ttlMs: 86_400_000,
    leaseMs: 10_000,
    waitMs: 30_000,
    maxResultBytes: 262_144,
    onUnknown: 'refuse',
    onStoreFailure: 'refuse',
    clock: systemClock,
    newId: () => crypto.randomUUID(),
    ...options,
  };
  for (const name of Object.keys(options)) if (!KNOWN.has(name)) throw new ConfigurationError(name, 'not an option of Idempotency');
  const { store, serviceName, ttlMs, leaseMs, waitMs, maxResultBytes, onUnknown, onStoreFailure } = resolved;
  if (typeof (store as StateStore | undefined)?.compareAndSet !== 'function')
    throw new ConfigurationError('store', 'expected a StateStore');
  if (typeof serviceName !== 'string' || serviceName === '') throw new ConfigurationError('serviceName', 'expected a non-empty string');
  whole('leaseMs', leaseMs, 100, LONGEST_MS);
  whole('ttlMs', ttlMs, 2 * leaseMs, Number.MAX_SAFE_INTEGER);
  whole('waitMs', waitMs, 0, LONGEST_MS);
  whole('maxResultBytes', maxResultBytes, 1, Number.MAX_SAFE_INTEGER);
  oneOf('onUnknown', onUnknown, ['refuse', 'retry']);
  oneOf('onStoreFailure', onStoreFailure, ['refuse', 'run']);
  return resolved;
}

const KNOWN: ReadonlySet<string> = new Set<keyof IdempotencyOptions>([
  'store',
  'serviceName',
  'ttlMs',
  'leaseMs',
  'waitMs',
  'maxResultBytes',
  'onUnknown',
  'onStoreFailure',
  'clock',
  'newId',
]);

function whole(option: string, value: number, from: number, to: number): void {
  if (Number.isSafeInteger(value) && value >= from && value <= to) return;
  throw new ConfigurationError(option, `expected a whole number from ${from} to ${to}, got ${String(value)}`);
}

function oneOf(option: string, value: string, values: readonly string[]): void {
  if (!values.includes(value)) throw new ConfigurationError(option, `expected ${values.join(' or ')}, got ${JSON.stringify(value)}`);
}
