/** Something that calls use, and that is closed when the last one has ended. */
export class InUse<T> {
  readonly value: T;
  readonly #close: () => Promise<void>;
  readonly #idle = Promise.withResolvers<void>();
  #users = 0;
  #retired = false;
  #closed: Promise<void> | undefined;

  constructor(value: T, close: () => Promise<void>) {
    this.value = value;
    this.#close = close;
  }

  async run<R>(use: (value: T) => Promise<R>): Promise<R> {
    this.#users += 1;
    try {
      return await use(this.value);
    } finally {
      this.#users -= 1;
      this.#settle();
    }
  }

  /** Closes it when no call needs it any more. Resolves when that is done. */
  async retire(): Promise<void> {
    this.#retired = true;
    this.#settle();
    await this.#idle.promise;
    await this.close();
  }

  /** Closes it now. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    this.#idle.resolve();
    return this.#closed;
  }

  #settle(): void {
    if (this.#retired && this.#users === 0) this.#idle.resolve();
  }
}
