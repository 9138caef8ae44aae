/**
 * Typed events: `Payloads` names them and gives the type of each one's payload. A listener that throws harms
 * no other and not the emitter.
 */
export class Events<Payloads extends object> {
  readonly #listeners = new Map<keyof Payloads, Set<(payload: never) => void>>();
  readonly #onListenerError: (error: Error, name: keyof Payloads) => void;

  /** @param onListenerError - told what a listener threw. Default: nobody is. */
  constructor(onListenerError: (error: Error, name: keyof Payloads) => void = () => {}) {
    this.#onListenerError = onListenerError;
  }

  /** Listens; the returned function ends it. The same function may listen twice. */
  on<Name extends keyof Payloads>(name: Name, listener: (payload: Payloads[Name]) => void): () => void {
    const own = (payload: Payloads[Name]) => listener(payload);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  emit<Name extends keyof Payloads>(name: Name, payload: Payloads[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (payload: Payloads[Name]) => void)(payload);
      } catch (error) {
        this.#onListenerError(error instanceof Error ? error : new Error(String(error)), name);
      }
    }
  }

  listenerCount(name: keyof Payloads): number {
    return this.#listeners.get(name)?.size ?? 0;
  }

  clear(): void {
    this.#listeners.clear();
  }
}
