import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PriorityQueue, type QueueEntry } from '../src/priority-queue.js';

interface Model {
  /** What the queue holds, in the order it must come out. */
  line: QueueEntry<number>[];
}

const sorted = (line: QueueEntry<number>[]) => line.sort((a, b) => b.priority - a.priority || a.order - b.order);

class Push implements fc.Command<Model, PriorityQueue<number>> {
  readonly #priority: number;
  constructor(priority: number) {
    this.#priority = priority;
  }
  check = () => true;
  run(model: Model, real: PriorityQueue<number>): void {
    model.line = sorted([...model.line, real.push(Math.random(), this.#priority)]);
    expect(real.size).toBe(model.line.length);
  }
  toString = () => `push(${this.#priority})`;
}

class Pop implements fc.Command<Model, PriorityQueue<number>> {
  check = () => true;
  run(model: Model, real: PriorityQueue<number>): void {
    expect(real.pop()).toBe(model.line.shift());
    expect(real.size).toBe(model.line.length);
  }
  toString = () => 'pop';
}

/** Takes an entry from anywhere, and may put it back where it stood. */
class Remove implements fc.Command<Model, PriorityQueue<number>> {
  readonly #at: number;
  readonly #putBack: boolean;
  constructor(at: number, putBack: boolean) {
    this.#at = at;
    this.#putBack = putBack;
  }
  check = (model: Model) => model.line.length > 0;
  run(model: Model, real: PriorityQueue<number>): void {
    const index = this.#at % model.line.length;
    const [entry] = model.line.splice(index, 1) as [QueueEntry<number>];
    expect(real.remove(entry)).toBe(true);
    expect(real.remove(entry)).toBe(false);
    if (this.#putBack) model.line.splice(index, 0, real.push(entry.value, entry.priority, entry.order));
    expect(real.size).toBe(model.line.length);
  }
  toString = () => `remove(${this.#at}, ${this.#putBack})`;
}

it('behaves as a line kept sorted by priority, then by arrival', () => {
  const commands = [
    fc.integer({ min: -2, max: 2 }).map((priority) => new Push(priority)),
    fc.double({ noNaN: true }).map((priority) => new Push(priority)),
    fc.constant(new Pop()),
    fc.tuple(fc.nat(), fc.boolean()).map(([at, putBack]) => new Remove(at, putBack)),
  ];
  fc.assert(
    fc.property(fc.commands(commands, { size: 'large' }), (run) => {
      const model: Model = { line: [] };
      const real = new PriorityQueue<number>();
      fc.modelRun(() => ({ model, real }), run);
      while (model.line.length > 0) expect(real.pop()).toBe(model.line.shift());
      expect(real.pop()).toBeUndefined();
    }),
  );
});

it('takes 100,000 entries in and out without going quadratic', () => {
  const queue = new PriorityQueue<number>();
  const entries = Array.from({ length: 100_000 }, (_, n) => queue.push(n, n % 7));
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
