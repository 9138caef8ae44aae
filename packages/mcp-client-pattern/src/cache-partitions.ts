import type { CacheStore } from './cache-store.js';
import type { Connection } from './connection.js';
import type { ConnectionManager } from './connection-manager.js';

/** Options of {@link CachePartitions}. */
export interface CachePartitionsOptions {
  readonly store: CacheStore;
  readonly manager: ConnectionManager;
  /** Names the person a token stands for, where the user can tell. */
  readonly partition: ((token: string | undefined) => string) | undefined;
}

/** Whose results are whose: names, for the cache, whoever a connection speaks for. */
export class CachePartitions {
  readonly #options: CachePartitionsOptions;
  /** Of whoever calls without a token: nobody else's. */
  readonly #nobody: string;

  constructor(options: CachePartitionsOptions) {
    this.#options = options;
    this.#nobody = options.store.newName();
  }

  /** Whose results the client may see now; `undefined` while that is not known. */
  get current(): string | undefined {
    return this.of(this.#options.manager.identity);
  }

  /** Whose credentials a connection was made with; `undefined` without one. */
  of(connection: Connection | undefined): string | undefined {
    if (connection === undefined) return undefined;
    const { store, manager, partition } = this.#options;
    const token = manager.tokenOf(connection);
    if (partition !== undefined) return `as ${partition(token)}`;
    if (token === undefined) return this.#nobody;
    const person = manager.personOf(token);
    return person === undefined ? store.nameOf(token) : `oauth ${person}`;
  }
}
