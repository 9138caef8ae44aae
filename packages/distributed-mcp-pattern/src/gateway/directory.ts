/** Who answers for an exposed name. */
export interface DirectoryEntry {
  readonly service: string;
  /** What the service itself calls it. */
  readonly name: string;
}

interface Listed extends DirectoryEntry {
  seenAt: number;
}

/** A name not seen for this long in a service's own lists is free for other services. */
const KEPT_MS = 60_000;
const MAX_NAMES = 10_000;

/**
 * Which service owns which exposed name, learnt from lists. A name stays with its service while that
 * service does not answer, so that a call never ends up at another service's tool of the same name.
 */
export class Directory {
  readonly #order: ReadonlyMap<string, number>;
  readonly #entries = new Map<string, Listed>();
  readonly #answeredAt = new Map<string, number>();

  /**
   * @param services - names in order of precedence.
   * @param before - what was learnt, which holds for the services that are still there.
   */
  constructor(services: readonly string[], before?: Directory) {
    this.#order = new Map(services.map((service, index) => [service, index]));
    if (before === undefined) return;
    for (const [exposed, entry] of before.#entries) if (this.#order.has(entry.service)) this.#entries.set(exposed, entry);
    for (const [service, at] of before.#answeredAt) if (this.#order.has(service)) this.#answeredAt.set(service, at);
  }

  /** Notes that the service has answered a list, whoever asked. */
  answered(service: string, now: number): void {
    this.#answeredAt.set(service, now);
  }

  /** Claims an exposed name for the service. Resolves with the owner: the service itself, or the one that keeps it. */
  claim(exposed: string, service: string, name: string, now: number): string {
    const known = this.#entries.get(exposed);
    if (known !== undefined && known.service !== service && !this.#isFree(known) && this.#rank(known.service) < this.#rank(service)) {
      return known.service;
    }
    this.#entries.delete(exposed);
    this.#entries.set(exposed, {
      service,
      name,
      seenAt: now,
    });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_NAMES) break;
      this.#entries.delete(oldest);
    }
    return service;
  }

  find(exposed: string): DirectoryEntry | undefined {
    const entry = this.#entries.get(exposed);
    return entry === undefined || this.#isFree(entry) ? undefined : entry;
  }

  *[Symbol.iterator](): IterableIterator<[exposed: string, entry: DirectoryEntry]> {
    for (const [exposed, entry] of this.#entries) if (!this.#isFree(entry)) yield [exposed, entry];
  }

  #isFree(entry: Listed): boolean {
    return (this.#answeredAt.get(entry.service) ?? 0) - entry.seenAt > KEPT_MS;
  }

  #rank(service: string): number {
    return this.#order.get(service) ?? Number.MAX_SAFE_INTEGER;
  }
}
