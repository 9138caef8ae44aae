import { Heap, type HeapNode } from './heap.js';

/** A place in a {@link PriorityQueue}. */
export interface QueueEntry<T> {
  readonly value: T;
  readonly priority: number;
  readonly fairnessKey: string;
}

interface Slot<T> extends QueueEntry<T> {
  readonly enqueuedAt: number;
  /** Grows with every push, and with `enqueuedAt`. */
  readonly order: number;
  lane: Lane<T> | undefined;
  node: HeapNode<Slot<T>> | undefined;
}

/** What waits at one level under one fairness key, oldest first. */
interface Lane<T> {
  readonly key: string;
  readonly level: Level<T>;
  readonly slots: Heap<Slot<T>>;
  /** Lanes are served in order of this, which no two have; being served moves a lane to the end. */
  turn: number;
  byTurn: HeapNode<Lane<T>>;
  byAge: HeapNode<Lane<T>>;
}

interface Level<T> {
  readonly priority: number;
  readonly lanes: Map<string, Lane<T>>;
  readonly byTurn: Heap<Lane<T>>;
  readonly byAge: Heap<Lane<T>>;
}

/**
 * Levels of priority. Within a level the fairness keys take turns, and within a key it is first come, first
 * served.
 *
 * Waiting counts: a level stands where its oldest entry does, at `enqueuedAt - priority × ageingMs`, and the
 * lowest goes first. So an entry is overtaken by entries of a level higher by `d` only if they came less than
 * `d × ageingMs` after it. That difference never changes while both wait, so nothing has to be sorted anew as
 * time passes: push, pop and remove cost O(log n), and O(number of levels) to choose among these.
 */
export class PriorityQueue<T> {
  readonly #ageingMs: number;
  readonly #now: () => number;
  readonly #levels = new Map<number, Level<T>>();
  #size = 0;
  #orders = 0;
  #turns = 0;
  #latest = Number.NEGATIVE_INFINITY;

  /**
   * @param ageingMs - the head start of a level over the one below it; Infinity: waiting never counts.
   * @param now - milliseconds; if it goes back, it counts as standing still.
   */
  constructor(ageingMs: number, now: () => number) {
    this.#ageingMs = ageingMs;
    this.#now = now;
  }

  get size(): number {
    return this.#size;
  }

  /** @param priority - any finite number; each one in use is a level. */
  push(value: T, priority = 0, fairnessKey = ''): QueueEntry<T> {
    const entry = this.place(value, priority, fairnessKey);
    this.#insert(entry as Slot<T>, ++this.#turns);
    return entry;
  }

  /** The place a value has from now on, without its waiting there: for `putBack`. */
  place(value: T, priority: number, fairnessKey: string): QueueEntry<T> {
    this.#latest = Math.max(this.#latest, this.#now());
    const slot: Slot<T> = {
      value,
      priority,
      fairnessKey,
      enqueuedAt: this.#latest,
      order: ++this.#orders,
      lane: undefined,
      node: undefined,
    };
    return slot;
  }

  /** Puts an entry that is out back where it stood, its turn given back to it. */
  putBack(entry: QueueEntry<T>): void {
    const slot = entry as Slot<T>;
    if (slot.lane === undefined) this.#insert(slot, slot.order - Number.MAX_SAFE_INTEGER);
  }

  /** Takes out the entry whose turn it is. */
  pop(): QueueEntry<T> | undefined {
    let next: Level<T> | undefined;
    for (const level of this.#levels.values()) if (next === undefined || this.#before(level, next)) next = level;
    const lane = next?.byTurn.first;
    const slot = lane?.slots.first;
    if (lane === undefined || slot === undefined) return undefined;
    lane.turn = ++this.#turns;
    lane.level.byTurn.update(lane.byTurn);
    this.remove(slot);
    return slot;
  }

  /** Takes out any entry; false when it is out already. */
  remove(entry: QueueEntry<T>): boolean {
    const { lane, node } = entry as Slot<T>;
    if (lane === undefined || node === undefined) return false;
    (entry as Slot<T>).lane = undefined;
    lane.slots.remove(node);
    this.#size -= 1;
    const { level } = lane;
    if (lane.slots.size > 0) {
      level.byAge.update(lane.byAge);
      return true;
    }
    level.byTurn.remove(lane.byTurn);
    level.byAge.remove(lane.byAge);
    level.lanes.delete(lane.key);
    if (level.lanes.size === 0) this.#levels.delete(level.priority);
    return true;
  }

  #insert(slot: Slot<T>, turn: number): void {
    const level = this.#levels.get(slot.priority) ?? this.#newLevel(slot.priority);
    let lane = level.lanes.get(slot.fairnessKey);
    const isNew = lane === undefined;
    lane ??= {
      key: slot.fairnessKey,
      level,
      slots: new Heap<Slot<T>>((a, b) => a.order < b.order),
      turn,
      byTurn: undefined as never,
      byAge: undefined as never,
    };
    slot.lane = lane;
    slot.node = lane.slots.push(slot);
    this.#size += 1;
    if (!isNew) {
      level.byAge.update(lane.byAge);
      return;
    }
    level.lanes.set(lane.key, lane);
    lane.byTurn = level.byTurn.push(lane);
    lane.byAge = level.byAge.push(lane);
  }

  #newLevel(priority: number): Level<T> {
    const level: Level<T> = {
      priority,
      lanes: new Map(),
      byTurn: new Heap((a, b) => a.turn < b.turn),
      byAge: new Heap((a, b) => oldest(a).order < oldest(b).order),
    };
    this.#levels.set(priority, level);
    return level;
  }

  #before(a: Level<T>, b: Level<T>): boolean {
    if (this.#ageingMs === Number.POSITIVE_INFINITY) return a.priority > b.priority;
    const [first, second] = [oldest(a.byAge.first as Lane<T>), oldest(b.byAge.first as Lane<T>)];
    const lead = first.enqueuedAt - second.enqueuedAt - (a.priority - b.priority) * this.#ageingMs;
    return lead === 0 ? first.order < second.order : lead < 0;
  }
}

function oldest<T>(lane: Lane<T>): Slot<T> {
  return lane.slots.first as Slot<T>;
}
