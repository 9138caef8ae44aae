import type { JsonObject, RpcResult } from '@mcp-blocks/core';

/** More are made anew each time: there are as many as there are sets of rights among the callers. */
const MAX_RESULTS = 100;

/**
 * The results of lists, one for each set of entries that callers see. Frozen, so that a listener writes each one once;
 * an entry's definition never changes.
 */
export class ListResults {
  readonly #results = new Map<string, RpcResult>();
  readonly #numbers = new WeakMap<object, number>();
  #last = 0;

  /**
   * @param kind - the member that holds the definitions.
   * @param further - members beside it.
   */
  of(kind: string, entries: readonly { readonly definition: JsonObject }[], further: JsonObject): RpcResult {
    const key = `${kind} ${entries.map((entry) => this.#numberOf(entry)).join()} ${JSON.stringify(further)}`;
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    const definitions = Object.freeze(entries.map((entry) => entry.definition)) as JsonObject[];
    const result = Object.freeze({ [kind]: definitions, ...further });
    if (this.#results.size >= MAX_RESULTS) this.#results.clear();
    this.#results.set(key, result);
    return result;
  }

  /** An entry that takes another's place is another one. */
  #numberOf(entry: object): number {
    const known = this.#numbers.get(entry);
    if (known !== undefined) return known;
    this.#last += 1;
    this.#numbers.set(entry, this.#last);
    return this.#last;
  }
}
