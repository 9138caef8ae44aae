/** Where a value stands in a {@link Heap}. */
export interface HeapNode<T> {
  readonly value: T;
  /** Position, -1 once out. The heap's own. */
  index: number;
}

/** A binary heap whose values can be taken out from anywhere. Push, remove and update cost O(log n). */
export class Heap<T> {
  readonly #nodes: HeapNode<T>[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** @param before - whether `a` comes before `b`; a strict order that changes only when `update` is called. */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#nodes.length;
  }

  get first(): T | undefined {
    return this.#nodes[0]?.value;
  }

  push(value: T): HeapNode<T> {
    const node = { value, index: this.#nodes.length };
    this.#nodes.push(node);
    this.#rise(node);
    return node;
  }

  /** False when it is out already. */
  remove(node: HeapNode<T>): boolean {
    if (node.index < 0) return false;
    const last = this.#nodes.pop() as HeapNode<T>;
    if (last !== node) {
      last.index = node.index;
      this.#nodes[last.index] = last;
      this.update(last);
    }
    node.index = -1;
    return true;
  }

  /** The value's place in the order has changed. */
  update(node: HeapNode<T>): void {
    this.#rise(node);
    this.#sink(node);
  }

  #rise(node: HeapNode<T>): void {
    while (node.index > 0) {
      const parent = this.#nodes[(node.index - 1) >> 1] as HeapNode<T>;
      if (!this.#before(node.value, parent.value)) return;
      this.#swap(node, parent);
    }
  }

  #sink(node: HeapNode<T>): void {
    for (;;) {
      const left = this.#nodes[2 * node.index + 1];
      const right = this.#nodes[2 * node.index + 2];
      const child = right !== undefined && left !== undefined && this.#before(right.value, left.value) ? right : left;
      if (child === undefined || !this.#before(child.value, node.value)) return;
      this.#swap(child, node);
    }
  }

  #swap(a: HeapNode<T>, b: HeapNode<T>): void {
    const index = a.index;
    a.index = b.index;
    b.index = index;
    this.#nodes[a.index] = a;
    this.#nodes[b.index] = b;
  }
}
