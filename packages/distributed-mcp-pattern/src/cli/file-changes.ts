import { stat } from 'node:fs/promises';
import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** Options of {@link FileChanges}. */
export interface FileChangesOptions {
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  readonly clock: Clock;
  /** Called when a file is another one than at the last look; the next look comes when it has resolved. */
  readonly onChange: () => Promise<void>;
}

/**
 * Notices changed files by looking at them. What a path leads to counts: files that are written over, renamed into
 * place or behind a symbolic link that now points elsewhere, on any file system.
 */
export class FileChanges {
  readonly #options: FileChangesOptions;
  #paths: readonly string[] = [];
  #seen: ReadonlyMap<string, string> = new Map();
  #cancel: CancelTimer | undefined;
  #closed = false;

  constructor(options: FileChangesOptions) {
    this.#options = options;
  }

  /** Looks at these from now on. One that is new here counts as changed once: it may have been, since it was read. */
  follow(paths: readonly string[]): void {
    this.#paths = paths;
    if (this.#cancel === undefined) this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #schedule(): void {
    if (!this.#closed) this.#cancel = this.#options.clock.setTimeout(() => void this.#look(), this.#options.intervalMs);
  }

  async #look(): Promise<void> {
    const seen = this.#seen;
    this.#seen = await look(this.#paths);
    if (!this.#closed && [...this.#seen].some(([path, state]) => seen.get(path) !== state)) await this.#options.onChange();
    this.#schedule();
  }
}

/** What each file is: the same text for the same content, as far as the file system tells. */
async function look(paths: readonly string[]): Promise<Map<string, string>> {
  const states = paths.map(async (path): Promise<[string, string]> => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return [path, [dev, ino, size, mtimeNs, ctimeNs].join(' ')];
    } catch {
      return [path, 'none'];
    }
  });
  return new Map(await Promise.all(states));
}
