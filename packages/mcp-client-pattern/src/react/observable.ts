import { useSyncExternalStore } from 'react';

/** A value and who wants to know when it changes; the value is replaced, never changed. */
export class Observable<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Something with a value that runs while a component shows it. */
export interface Source<T> {
  readonly subscribe: (listener: () => void) => () => void;
  readonly snapshot: () => T;
}

/** @param onServer - the value in markup made on a server, and while that is taken over. */
export function useSource<T>({ subscribe, snapshot }: Source<T>, onServer: T): T {
  return useSyncExternalStore(subscribe, snapshot, () => onServer);
}
