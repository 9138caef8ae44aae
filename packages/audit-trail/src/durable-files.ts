import { closeSync, constants, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Through no symbolic link: in a folder that others can write to, it could lead to any file of ours. Windows has no such flag. */
const NEW_CONTENT = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0);

/** Replaces a file by renaming, so that a crash leaves the old content or the new one, never half of one. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const file = await open(`${path}.tmp`, NEW_CONTENT, 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
  await syncFolderOf(path);
}

/** Makes renames and removals beside `path` durable. */
export async function syncFolderOf(path: string): Promise<void> {
  // A directory cannot be opened on Windows, where renaming is durable by itself.
  if (process.platform === 'win32') return;
  const directory = await open(dirname(path), 'r');
  await directory.sync().finally(() => directory.close());
}

export function replaceFileSync(path: string, content: string): void {
  const file = openSync(`${path}.tmp`, NEW_CONTENT, 0o600);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.tmp`, path);
  if (process.platform === 'win32') return;
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** The content of a file, `undefined` when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
