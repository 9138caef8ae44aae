/** A place in a {@link PriorityQueue}. */
export interface QueueEntry<T> {
  readonly value: T;
  readonly priority: number;
  /** Where the entry stands among those of its priority: lower first. */
  readonly order: number;
}

interface Slot<T> extends QueueEntry<T> {
  /** Position in the heap, -1 once out. */
  index: number;
}

/** Higher priority first, first come first served within a priority. Push, pop and remove cost O(log n). */
export class PriorityQueue<T> {
  readonly #heap: Slot<T>[] = [];
  #nextOrder = 0;

  get size(): number {
    return this.#heap.length;
  }

  /**
   * @param priority - any finite number; higher goes first.
   * @param order - the `order` of an earlier entry, to put a value back where it stood. Default: last in line.
   */
  push(value: T, priority: number, order: number = this.#nextOrder++): QueueEntry<T> {
    const slot: Slot<T> = { value, priority, order, index: this.#heap.length };
    this.#heap.push(slot);
    this.#rise(slot);
    return slot;
  }

  /** Takes out the entry whose turn it is. */
  pop(): QueueEntry<T> | undefined {
    const first = this.#heap[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Takes out any entry; false when it is out already. */
  remove(entry: QueueEntry<T>): boolean {
    const slot = entry as Slot<T>;
    if (slot.index < 0 || this.#heap[slot.index] !== slot) return false;
    const last = this.#heap.pop() as Slot<T>;
    if (last !== slot) {
      last.index = slot.index;
      this.#heap[last.index] = last;
      this.#rise(last);
      this.#sink(last);
    }
    slot.index = -1;
    return true;
  }

  #rise(slot: Slot<T>): void {
    while (slot.index > 0) {
      const parent = this.#heap[(slot.index - 1) >> 1] as Slot<T>;
      if (!before(slot, parent)) return;
      this.#swap(slot, parent);
    }
  }

  #sink(slot: Slot<T>): void {
    for (;;) {
      const left = this.#heap[2 * slot.index + 1];
      const right = this.#heap[2 * slot.index + 2];
      const child = right !== undefined && left !== undefined && before(right, left) ? right : left;
      if (child === undefined || !before(child, slot)) return;
      this.#swap(child, slot);
    }
  }

  #swap(a: Slot<T>, b: Slot<T>): void {
    const index = a.index;
    a.index = b.index;
    b.index = index;
    this.#heap[a.index] = a;
    this.#heap[b.index] = b;
  }
}

function before<T>(a: Slot<T>, b: Slot<T>): boolean {
  return a.priority === b.priority ? a.order < b.order : a.priority > b.priority;
}
