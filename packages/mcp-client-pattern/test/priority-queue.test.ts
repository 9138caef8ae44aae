import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PriorityQueue, type QueueEntry } from '../src/priority-queue.js';

interface Waiting {
  readonly entry: QueueEntry<number>;
  readonly enqueuedAt: number;
  readonly order: number;
}

/** What the queue must do, said as plainly as possible. */
class Model {
  waiting: Waiting[] = [];
  readonly ageingMs: number;
  now = 0;
  orders = 0;
  /** By level, the lanes in order of their turn. */
  readonly turns = new Map<number, string[]>();

  constructor(ageingMs: number) {
    this.ageingMs = ageingMs;
  }

  add(waiting: Waiting): void {
    this.waiting.push(waiting);
    const { priority, fairnessKey } = waiting.entry;
    const lanes = this.turns.get(priority) ?? [];
    if (!lanes.includes(fairnessKey)) this.turns.set(priority, [...lanes, fairnessKey]);
  }

  take(waiting: Waiting): void {
    this.waiting = this.waiting.filter((each) => each !== waiting);
    const { priority, fairnessKey } = waiting.entry;
    if (this.in(priority, fairnessKey).length > 0) return;
    this.turns.set(
      priority,
      (this.turns.get(priority) ?? []).filter((key) => key !== fairnessKey),
    );
  }

  in(priority: number, key: string): Waiting[] {
    return this.waiting.filter(({ entry }) => entry.priority === priority && entry.fairnessKey === key).sort((a, b) => a.order - b.order);
  }

  next(): Waiting | undefined {
    const oldest = this.waiting
      .slice()
      .sort((a, b) =>
        this.ageingMs === Infinity
          ? b.entry.priority - a.entry.priority || a.order - b.order
          : a.enqueuedAt - a.entry.priority * this.ageingMs - (b.enqueuedAt - b.entry.priority * this.ageingMs) || a.order - b.order,
      )[0];
    if (oldest === undefined) return undefined;
    const { priority } = oldest.entry;
    const [key = '', ...rest] = this.turns.get(priority) ?? [];
    this.turns.set(priority, [...rest, key]);
    const next = this.in(priority, key)[0] as Waiting;
    this.take(next);
    return next;
  }
}

type Step = ['push', priority: number, key: string] | ['pop'] | ['remove', at: number] | ['wait', ms: number];

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.tuple(fc.constant('push' as const), fc.integer({ min: -3, max: 3 }), fc.constantFrom('', 'a', 'b', 'c')),
    fc.tuple(fc.constant('pop' as const)),
    fc.tuple(fc.constant('remove' as const), fc.nat(1000)),
    fc.tuple(fc.constant('wait' as const), fc.integer({ min: 0, max: 250 })),
  ),
  { maxLength: 200 },
);

it('behaves as the plainest queue with levels, ageing and turns would', () => {
  fc.assert(
    fc.property(steps, fc.constantFrom(1, 100, 1000, Infinity), (run, ageingMs) => {
      const model = new Model(ageingMs);
      const queue = new PriorityQueue<number>(ageingMs, () => model.now);
      for (const step of run) {
        if (step[0] === 'wait') model.now += step[1];
        else if (step[0] === 'push') {
          const entry = queue.push(model.orders, step[1], step[2]);
          model.add({ entry, enqueuedAt: model.now, order: model.orders++ });
        } else if (step[0] === 'pop') expect(queue.pop()).toBe(model.next()?.entry);
        else if (model.waiting.length > 0) {
          const victim = model.waiting[step[1] % model.waiting.length] as Waiting;
          model.take(victim);
          expect(queue.remove(victim.entry)).toBe(true);
          expect(queue.remove(victim.entry)).toBe(false);
        }
        expect(queue.size).toBe(model.waiting.length);
      }
      while (model.waiting.length > 0) expect(queue.pop()).toBe(model.next()?.entry);
      expect(queue.pop()).toBeUndefined();
    }),
    { numRuns: 500 },
  );
});

it('lets an entry be overtaken only by what came less than the levels between them times ageingMs after it', () => {
  const arrivals = fc.array(fc.tuple(fc.integer({ min: -100, max: 100 }), fc.integer({ min: 0, max: 50 }), fc.boolean()), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 1000 }), (run, ageingMs) => {
      let now = 0;
      const queue = new PriorityQueue<number>(ageingMs, () => now);
      const waiting = new Map<QueueEntry<number>, number>();
      const popAndCheck = () => {
        const out = queue.pop();
        if (out === undefined) return;
        const cameAt = waiting.get(out) as number;
        waiting.delete(out);
        for (const [left, leftCameAt] of waiting) {
          if (leftCameAt >= cameAt) continue;
          expect(cameAt - leftCameAt).toBeLessThan((out.priority - left.priority) * ageingMs);
        }
      };
      for (const [priority, waitMs, pop] of run) {
        now += waitMs;
        waiting.set(queue.push(0, priority), now);
        if (pop) popAndCheck();
      }
      while (queue.size > 0) popAndCheck();
    }),
  );
});

describe('nothing starves', () => {
  /** Pops with something of a higher level always waiting. */
  function popsUntilServed(ageingMs: number, arriveEveryMs: number, limit: number, arrive: (queue: PriorityQueue<string>) => void): number {
    let now = 0;
    const queue = new PriorityQueue<string>(ageingMs, () => now);
    queue.push('low', 0);
    for (let pops = 1; pops <= limit; pops += 1) {
      arrive(queue);
      if (queue.pop()?.value === 'low') return now;
      now += arriveEveryMs;
    }
    return Infinity;
  }

  it('under a stream of higher priority that never ends: ageingMs for every level between', () => {
    for (const [priority, ageingMs] of [
      [1, 1000],
      [3, 1000],
      [3, 5000],
      [100, 100],
    ] as const) {
      const served = popsUntilServed(ageingMs, 10, 10_000, (queue) => queue.push('high', priority));
      expect(served).toBe(priority * ageingMs);
    }
  });

  it('except where waiting is said not to count', () => {
    expect(popsUntilServed(Infinity, 1000, 1000, (queue) => queue.push('high', 1))).toBe(Infinity);
  });
});

describe('fairness keys', () => {
  const drain = (queue: PriorityQueue<string>, most = Infinity) => {
    const out: string[] = [];
    while (queue.size > 0 && out.length < most) out.push(queue.pop()?.value as string);
    return out.join(' ');
  };

  it('take turns within a level, and are first come, first served within themselves', () => {
    const queue = new PriorityQueue<string>(1000, () => 0);
    for (const n of [1, 2, 3, 4]) queue.push(`a${n}`, 0, 'a');
    for (const n of [1, 2]) queue.push(`b${n}`, 0, 'b');
    queue.push('c1', 0, 'c');
    expect(drain(queue)).toBe('a1 b1 c1 a2 b2 a3 a4');
  });

  it('count for nothing between levels', () => {
    const queue = new PriorityQueue<string>(1000, () => 0);
    for (const n of [1, 2]) queue.push(`a${n}`, 1, 'a');
    queue.push('b1', 0, 'b');
    expect(drain(queue)).toBe('a1 a2 b1');
  });

  it('make one with a thousand waiting delay a newcomer by one turn, also after most were cancelled', () => {
    const queue = new PriorityQueue<string>(1000, () => 0);
    const many = Array.from({ length: 1000 }, (_, n) => queue.push(`a${n}`, 0, 'a'));
    queue.push('b0', 0, 'b');
    expect(drain(queue, 3)).toBe('a0 b0 a1');
    for (const entry of many.slice(2, 990)) queue.remove(entry);
    for (const n of [1, 2, 3]) queue.push(`b${n}`, 0, 'b');
    expect(drain(queue, 5)).toBe('a990 b1 a991 b2 a992');
  });

  it('get a turn back with what is put back', () => {
    const queue = new PriorityQueue<string>(1000, () => 0);
    for (const n of [1, 2]) queue.push(`a${n}`, 0, 'a');
    for (const n of [1, 2]) queue.push(`b${n}`, 0, 'b');
    const taken = queue.pop() as QueueEntry<string>;
    queue.putBack(taken);
    queue.putBack(taken);
    expect(queue.size).toBe(4);
    expect(drain(queue, 2)).toBe('b1 a1');
    const alone = new PriorityQueue<string>(1000, () => 0);
    alone.push('x1', 0, 'x');
    alone.push('y1', 0, 'y');
    alone.putBack(alone.pop() as QueueEntry<string>);
    expect(drain(alone)).toBe('x1 y1');
  });
});

it('counts a clock that goes back as standing still', () => {
  let now = 1000;
  const queue = new PriorityQueue<string>(100, () => now);
  queue.push('first');
  now = 0;
  queue.push('second');
  expect([queue.pop()?.value, queue.pop()?.value]).toEqual(['first', 'second']);
});

it('takes 100,000 entries in and out without going quadratic', () => {
  const queue = new PriorityQueue<number>(Infinity, () => 0);
  const entries = Array.from({ length: 100_000 }, (_, n) => queue.push(n, n % 7, String(n % 1000)));
  for (const entry of entries.filter((_, n) => n % 2 === 0)) queue.remove(entry);
  let out = 0;
  let previous = Number.POSITIVE_INFINITY;
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    expect(entry.priority).toBeLessThanOrEqual(previous);
    previous = entry.priority;
    out += 1;
  }
  expect(out).toBe(50_000);
});
