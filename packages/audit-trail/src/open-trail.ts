import { stat } from 'node:fs/promises';
import { fileTrail } from './file-trail.js';
import { isNoDatabase, sqliteTrail } from './sqlite-trail.js';
import type { OpenTrail, Pruning, StoredTrail } from './trail.js';

/** One page of the smallest size. SQLite takes smaller files for empty databases. */
const SMALLEST_DATABASE = 512;

/** The trail at a path, or the one given. */
export function trailOf(source: string | StoredTrail): StoredTrail {
  return typeof source === 'string' ? new TrailAtPath(source) : source;
}

/**
 * A trail whose kind its content tells: a database or files of lines.
 *
 * SQLite is asked first: to open and close a database's file by other means would take the locks from a
 * sink that has it open in this process (POSIX advisory locks end with any close).
 */
class TrailAtPath implements StoredTrail {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  open(): Promise<OpenTrail> {
    return this.#either((trail) => trail.open());
  }

  startPruning(): Promise<Pruning> {
    return this.#either((trail) => trail.startPruning());
  }

  async #either<T>(use: (trail: StoredTrail) => Promise<T>): Promise<T> {
    const files = fileTrail(this.#path);
    if ((await sizeOf(this.#path)) < SMALLEST_DATABASE) return use(files);
    try {
      return await use(sqliteTrail(this.#path));
    } catch (error) {
      if (isNoDatabase(error)) return use(files);
      throw error;
    }
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    // Between two files of a trail there is a moment without one at the path itself; its head is there.
    await stat(`${path}.head`).catch(() => {
      throw error;
    });
    return 0;
  }
}
