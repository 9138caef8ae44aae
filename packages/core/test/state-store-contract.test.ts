import { expect, it } from 'vitest';
import { type JsonValue, type Lock, MemoryStateStore, RpcError, type SetOptions, type StateStore } from '../src/index.js';
import { ManualClock, type StateStoreHarness, stateStoreContract } from '../src/testing/index.js';

function harnessOf(make: (clock: ManualClock) => StateStore): StateStoreHarness {
  const clock = new ManualClock();
  return {
    create: async () => {
      const store = make(clock);
      return { store, peer: store };
    },
    advance: (ms) => clock.advance(ms),
  };
}

for (const { name, run } of stateStoreContract) {
  it(`the memory store: ${name}`, () => run(harnessOf((clock) => new MemoryStateStore({ clock }))));
}

/** Each of these breaks one promise; `caughtBy` names a case that must notice. */
const broken: readonly { defect: string; caughtBy: RegExp; make: (clock: ManualClock) => StateStore }[] = [
  {
    defect: 'ignores the lifetime of entries',
    caughtBy: /gone after it/,
    make: mutant(
      (Base) =>
        class extends Base {
          override set(key: string, value: JsonValue, options: SetOptions = {}) {
            return super.set(key, value, { ifAbsent: options.ifAbsent ?? false });
          }
        },
    ),
  },
  {
    defect: 'lets entries go too early',
    caughtBy: /gone after it/,
    make: mutant(
      (Base) =>
        class extends Base {
          override set(key: string, value: JsonValue, options: SetOptions = {}) {
            return super.set(key, value, options.ttlMs === undefined ? options : { ...options, ttlMs: Math.ceil(options.ttlMs / 3) });
          }
        },
    ),
  },
  {
    defect: 'ignores ifAbsent',
    caughtBy: /only where nothing lives/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async set(key: string, value: JsonValue, { ttlMs }: SetOptions = {}) {
            return super.set(key, value, ttlMs === undefined ? {} : { ttlMs });
          }
        },
    ),
  },
  {
    defect: 'looks and writes in two steps for ifAbsent',
    caughtBy: /many that write with ifAbsent/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async set(key: string, value: JsonValue, options: SetOptions = {}) {
            if (options.ifAbsent && (await super.get(key)) !== undefined) return false;
            return super.set(key, value, options.ttlMs === undefined ? {} : { ttlMs: options.ttlMs });
          }
        },
    ),
  },
  {
    defect: 'hands out the object it keeps',
    caughtBy: /not shared/,
    make: mutant(
      (Base) =>
        class extends Base {
          readonly #objects = new Map<string, JsonValue>();
          override async set(key: string, value: JsonValue, options?: SetOptions) {
            this.#objects.set(key, value);
            return super.set(key, value, options);
          }
          override async get(key: string) {
            return (await super.get(key)) === undefined ? undefined : this.#objects.get(key);
          }
        },
    ),
  },
  {
    defect: 'takes keys for case-insensitive',
    caughtBy: /told apart/,
    make: mutant(
      (Base) =>
        class extends Base {
          override get(key: string) {
            return super.get(key.toLowerCase());
          }
          override set(key: string, value: JsonValue, options?: SetOptions) {
            return super.set(key.toLowerCase(), value, options);
          }
        },
    ),
  },
  {
    defect: 'always says that it deleted',
    caughtBy: /nobody wrote/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async delete(key: string) {
            await super.delete(key);
            return true;
          }
        },
    ),
  },
  {
    defect: 'compares and sets in two steps',
    caughtBy: /many that compare and set/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async compareAndSet(key: string, expected: JsonValue, next: JsonValue) {
            const current = await super.get(key);
            return JSON.stringify(current) === JSON.stringify(expected) && super.set(key, next);
          }
        },
    ),
  },
  {
    defect: 'compares the order of members',
    caughtBy: /exactly what is expected/,
    make: mutant(
      (Base) =>
        class extends Base {
          readonly #texts = new Map<string, string>();
          override set(key: string, value: JsonValue, options?: SetOptions) {
            this.#texts.set(key, JSON.stringify(value));
            return super.set(key, value, options);
          }
          override async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options?: { ttlMs?: number }) {
            return this.#texts.get(key) === JSON.stringify(expected) && super.compareAndSet(key, expected, next, options);
          }
        },
    ),
  },
  {
    defect: 'lets compareAndSet drop the lifetime',
    caughtBy: /keeps the lifetime/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async compareAndSet(key: string, expected: JsonValue, next: JsonValue, options: { ttlMs?: number } = {}) {
            return super.compareAndSet(key, expected, next, { ttlMs: options.ttlMs ?? 60_000 });
          }
        },
    ),
  },
  {
    defect: 'reads and writes in two steps for increment',
    caughtBy: /all counted/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async increment(key: string, by: number) {
            const sum = (((await super.get(key)) as number | undefined) ?? 0) + by;
            await super.set(key, sum);
            return sum;
          }
        },
    ),
  },
  {
    defect: 'prolongs a counter with every increment',
    caughtBy: /do not prolong/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async increment(key: string, by: number, options: { ttlMs?: number } = {}) {
            const sum = await super.increment(key, by, options);
            await super.compareAndSet(key, sum, sum, options);
            return sum;
          }
        },
    ),
  },
  {
    defect: 'counts on from what is no counter',
    caughtBy: /no counter/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async increment(key: string, by: number, options?: { ttlMs?: number }) {
            if (typeof (await super.get(key)) === 'string') await super.delete(key);
            return super.increment(key, by, options);
          }
        },
    ),
  },
  {
    defect: 'gives a lock to everybody',
    caughtBy: /held by one/,
    make: mutant(
      (Base) =>
        class extends Base {
          #fence = 1_000_000;
          override async acquireLock(key: string, ttlMs: number): Promise<Lock | undefined> {
            this.#fence += 1;
            return (await super.acquireLock(key, ttlMs)) ?? { token: 'spare', fencingToken: this.#fence };
          }
        },
    ),
  },
  {
    defect: 'does not check who gives a lock back',
    caughtBy: /only the holder/,
    make: mutant(
      (Base) =>
        class extends Base {
          readonly #tokens = new Map<string, string>();
          override async acquireLock(key: string, ttlMs: number) {
            const lock = await super.acquireLock(key, ttlMs);
            if (lock !== undefined) this.#tokens.set(key, lock.token);
            return lock;
          }
          override releaseLock(key: string, _token: string) {
            return super.releaseLock(key, this.#tokens.get(key) ?? '');
          }
        },
    ),
  },
  {
    defect: 'never lets a lock end',
    caughtBy: /ends by itself/,
    make: mutant(
      (Base) =>
        class extends Base {
          override acquireLock(key: string, _ttlMs: number) {
            return super.acquireLock(key, 3_600_000);
          }
        },
    ),
  },
  {
    defect: 'adds to the lifetime of a lock instead of counting from now',
    caughtBy: /counts the lifetime from now/,
    make: mutant(
      (Base) =>
        class extends Base {
          override extendLock(key: string, token: string, ttlMs: number) {
            return super.extendLock(key, token, ttlMs + 60_000);
          }
        },
    ),
  },
  {
    defect: 'has one fencing token for all',
    caughtBy: /fencing token grows/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async acquireLock(key: string, ttlMs: number) {
            const lock = await super.acquireLock(key, ttlMs);
            return lock && { ...lock, fencingToken: 1 };
          }
        },
    ),
  },
  {
    defect: 'keeps delivering after the subscription is stopped',
    caughtBy: /stopped subscriber/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async subscribe(channel: string, listener: (message: JsonValue) => void) {
            await super.subscribe(channel, listener);
            return async () => {};
          }
        },
    ),
  },
  {
    defect: 'tells every subscriber of every channel',
    caughtBy: /every subscriber of its channel/,
    make: mutant(
      (Base) =>
        class extends Base {
          override subscribe(channel: string, listener: (message: JsonValue) => void) {
            return super.subscribe(channel === '' ? channel : 'all', listener);
          }
          override publish(channel: string, message: JsonValue) {
            return super.publish(channel === '' ? channel : 'all', message);
          }
        },
    ),
  },
  {
    defect: 'tells new subscribers the last message',
    caughtBy: /nothing of the past/,
    make: mutant(
      (Base) =>
        class extends Base {
          readonly #last = new Map<string, JsonValue>();
          override async publish(channel: string, message: JsonValue) {
            await super.publish(channel, message);
            this.#last.set(channel, message);
          }
          override async subscribe(channel: string, listener: (message: JsonValue) => void) {
            const last = this.#last.get(channel);
            const stop = await super.subscribe(channel, listener);
            if (last !== undefined) queueMicrotask(() => listener(last));
            return stop;
          }
        },
    ),
  },
  {
    defect: 'tells the same message object to all',
    caughtBy: /harms no other/,
    make: mutant(
      (Base) =>
        class extends Base {
          readonly #listeners = new Map<string, Set<(message: JsonValue) => void>>();
          override async subscribe(channel: string, listener: (message: JsonValue) => void) {
            const stop = await super.subscribe(channel, () => {});
            const listeners = this.#listeners.get(channel) ?? new Set();
            this.#listeners.set(channel, listeners.add(listener));
            return async () => {
              listeners.delete(listener);
              await stop();
            };
          }
          override async publish(channel: string, message: JsonValue) {
            await super.publish(channel, message);
            for (const listener of this.#listeners.get(channel) ?? []) {
              try {
                listener(message);
              } catch {
                // As the contract asks.
              }
            }
          }
        },
    ),
  },
  {
    defect: 'accepts a lifetime of zero',
    caughtBy: /wrong arguments/,
    make: mutant(
      (Base) =>
        class extends Base {
          override set(key: string, value: JsonValue, options: SetOptions = {}) {
            return super.set(key, value, options.ttlMs === 0 ? {} : options);
          }
        },
    ),
  },
  {
    defect: 'goes on after close',
    caughtBy: /close is idempotent/,
    make: mutant(
      (Base) =>
        class extends Base {
          override async close() {}
        },
    ),
  },
  {
    defect: 'fails when closed twice',
    caughtBy: /close is idempotent/,
    make: mutant(
      (Base) =>
        class extends Base {
          #closed = false;
          override async close() {
            if (this.#closed) throw new RpcError('internal_error', 'closed already');
            this.#closed = true;
            await super.close();
          }
        },
    ),
  },
];

it.each(broken)('the contract notices a store that $defect', async ({ make, caughtBy }) => {
  const failed: string[] = [];
  for (const { name, run } of stateStoreContract) {
    await run(harnessOf(make)).catch(() => failed.push(name));
  }
  expect(failed).toContainEqual(expect.stringMatching(caughtBy));
});

function mutant(breakIt: (Base: typeof MemoryStateStore) => typeof MemoryStateStore): (clock: ManualClock) => StateStore {
  return (clock) => new (breakIt(MemoryStateStore))({ clock });
}
