import { lstat, realpath } from 'node:fs/promises';
import path from 'node:path';
import { RpcError } from '@mcp-blocks/core';

/**
 * The real, absolute path of a file or folder inside `root`, whether or not it exists yet, for tools and
 * readers that get a path from a caller. Symbolic links are followed before the check, so one that leads
 * out is refused.
 *
 * The answer is true at the moment it is given: open the returned path, not the caller's, and let nobody
 * who must not escape write to `root` by other ways.
 *
 * @param root - an existing folder; may itself be reached through a symbolic link.
 * @param relativePath - from the caller; `''` and `.` are the root itself.
 * @throws RpcError `resource_not_found`, always with the same message, for an absolute path, a `..`
 * segment, a NUL, and a link that leads out or nowhere. The audit reason tells which.
 */
export async function resolveInside(root: string, relativePath: string): Promise<string> {
  if (typeof relativePath !== 'string' || relativePath.includes('\0')) throw refusal('not a path');
  // By the rules of every system: what is harmless on one is a way out on another.
  if (path.posix.isAbsolute(relativePath) || path.win32.isAbsolute(relativePath) || /^[A-Za-z]:/.test(relativePath)) {
    throw refusal('absolute path');
  }
  // Before the file system is asked: whether something outside exists is nobody's business.
  if (relativePath.split(/[/\\]/).includes('..')) throw refusal("path with a '..' segment");
  const realRoot = await realpath(root);
  const real = await realPathOf(path.resolve(realRoot, relativePath));
  if (!isInside(realRoot, real)) throw refusal('symbolic link out of the root');
  return real;
}

/** As `realpath`, but what does not exist yet is appended to the real path of the folder it would be in. */
async function realPathOf(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw refusal(`cannot be resolved: ${code}`, error);
  }
  // A link to nothing: writing to it would make its target.
  if (await exists(file)) throw refusal('symbolic link to nothing');
  return path.join(await realPathOf(path.dirname(file)), path.basename(file));
}

async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch {
    return false;
  }
}

function isInside(root: string, file: string): boolean {
  const relative = path.relative(root, file);
  return relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

function refusal(auditReason: string, cause?: unknown): RpcError {
  return new RpcError('resource_not_found', 'No such file', { auditReason, ...(cause === undefined ? {} : { cause }) });
}
