/** Typed listeners by event name. A throwing listener harms no other; its error goes to `onListenerError`. */
export class EventHub<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(payload: never) => void>>();
  readonly #onListenerError: (error: Error, event: keyof Events) => void;

  constructor(onListenerError: (error: Error, event: keyof Events) => void) {
    this.#onListenerError = onListenerError;
  }

  /** Returns the function that ends the subscription. */
  on<E extends keyof Events>(event: E, listener: (payload: Events[E]) => void): () => void {
    // A wrapper of its own per subscription: the same function may subscribe twice.
    const own = (payload: Events[E]) => listener(payload);
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  emit<E extends keyof Events>(event: E, payload: Events[E]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as (payload: Events[E]) => void)(payload);
      } catch (error) {
        this.#onListenerError(error instanceof Error ? error : new Error(String(error)), event);
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}
