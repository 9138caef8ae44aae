import { ConfigurationError } from '@mcp-blocks/core';

/** What is registered under one kind, by key, listed in the order of the keys' code units. */
export class Catalog<Entry extends { readonly key: string }> {
  readonly #kind: string;
  readonly #entries = new Map<string, Entry>();
  #sorted: readonly Entry[] | undefined;
  #everUsed = false;

  constructor(kind: string) {
    this.#kind = kind;
  }

  /**
   * @param replace - takes the place of what has the key, which is returned.
   * @throws ConfigurationError when the key is taken and nothing is to be replaced.
   */
  add(entry: Entry, replace: boolean): Entry | undefined {
    const replaced = this.#entries.get(entry.key);
    if (replaced !== undefined && !replace) {
      throw new ConfigurationError(`${this.#kind} '${entry.key}'`, 'is registered already; remove it first, or replace it');
    }
    this.#entries.set(entry.key, entry);
    this.#everUsed = true;
    this.#sorted = undefined;
    return replaced;
  }

  /** Takes out and returns what has this key, if it is `only` (or that is not given). */
  remove(key: string, only?: Entry): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || (only !== undefined && entry !== only)) return undefined;
    this.#entries.delete(key);
    this.#sorted = undefined;
    return entry;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** In the order of their keys. */
  get sorted(): readonly Entry[] {
    this.#sorted ??= [...this.#entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }

  /** In the order of their registration; what replaced another has its place. */
  values(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Whether anything has ever been registered. A capability once declared is not taken back. */
  get everUsed(): boolean {
    return this.#everUsed;
  }
}
