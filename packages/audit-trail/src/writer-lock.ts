import { DatabaseSync } from 'node:sqlite';
import { ConfigurationError, RpcError } from '@mcp-blocks/core';

const SQLITE_BUSY = 5;

/**
 * Keeps a second writer away from a trail, in this process and in others.
 *
 * The lock is the operating system's, held through SQLite on an empty file beside the trail. It ends with
 * the process, so there is no stale lock to recognise; the empty file stays.
 */
export class WriterLock {
  readonly #database: DatabaseSync;

  /**
   * @param state - what it means that somebody else holds it.
   * @throws RpcError `unavailable` when somebody else holds it, ConfigurationError when the file cannot be made.
   */
  constructor(trailPath: string, state = 'has a writer already; a trail has one at a time') {
    const path = `${trailPath}.lock`;
    try {
      this.#database = new DatabaseSync(path);
    } catch (cause) {
      throw new ConfigurationError('path', `'${path}' cannot be created: ${(cause as Error).message}`);
    }
    try {
      this.#database.exec('BEGIN EXCLUSIVE');
    } catch (cause) {
      this.#database.close();
      if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) {
        throw new ConfigurationError('path', `'${path}' cannot be locked: ${(cause as Error).message}`);
      }
      throw new RpcError('unavailable', `The audit trail '${trailPath}' ${state}`, { cause });
    }
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
