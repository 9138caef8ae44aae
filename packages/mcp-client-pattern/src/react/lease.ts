/**
 * Runs something for as long as anybody holds it. What is let go and taken again within one turn goes on running:
 * that is how StrictMode mounts a component twice.
 */
export class Lease {
  readonly #begin: () => () => void;
  #holders = 0;
  #end: (() => void) | undefined;

  /** @param begin - starts it and returns the function that ends it. */
  constructor(begin: () => () => void) {
    this.#begin = begin;
  }

  /** Returns the function that lets go. */
  hold(): () => void {
    this.#holders += 1;
    this.#end ??= this.#begin();
    return () => {
      this.#holders -= 1;
      queueMicrotask(() => this.#endIfUnused());
    };
  }

  #endIfUnused(): void {
    if (this.#holders > 0) return;
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }
}
