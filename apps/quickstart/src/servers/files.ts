import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { AuthenticatedToolRegistry, ToolError } from '@mcp-blocks/authenticated-tool-registry';
import { resolveInside } from '@mcp-blocks/authenticated-tool-registry/node';
import { type AuditSink, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { ROLE_HIERARCHY } from '../identities.js';

/** Options of {@link fileServer}. */
export interface FileOptions {
  /** The one folder that is served. */
  readonly root: string;
  readonly audit: AuditSink;
}

const MAX_FILE_BYTES = 256 * 1024;
const path = z.string().min(1).max(500).describe('A path below the served folder, such as reports/2026-q3.md');

/** One folder of text files. No path leads out of it: not by .., not by an absolute path, not by a link. */
export function fileServer({ root, audit }: FileOptions): AuthenticatedToolRegistry {
  const registry = new AuthenticatedToolRegistry({ name: 'files', version: '1.0.0', audit, roles: ROLE_HIERARCHY });
  const viewers = { roles: ['viewer'] };
  let reads = 0;

  registry.tool(
    'list_files',
    {
      title: 'List files',
      description: 'Names every file of the served folder.',
      input: z.object({}),
      output: z.object({ files: z.array(z.string()) }),
      annotations: { readOnlyHint: true },
      access: viewers,
    },
    async () => ({ structuredContent: { files: await filesBelow(root) } }),
  );

  registry.tool(
    'read_file',
    {
      title: 'Read a file',
      description: 'The text of one file.',
      input: z.object({ path }),
      annotations: { readOnlyHint: true },
      access: viewers,
    },
    async (args) => {
      reads += 1;
      return readText(root, args.path);
    },
  );

  registry.tool(
    'write_file',
    {
      title: 'Write a file',
      description: 'Writes the text of one file, replacing what it had.',
      input: z.object({ path, text: z.string().max(MAX_FILE_BYTES) }),
      annotations: { readOnlyHint: false, idempotentHint: true },
      access: { roles: ['admin'] },
    },
    async (args) => {
      const file = await inside(root, args.path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, args.text);
      registry.resourceUpdated(`file:///${args.path}`);
      return `Wrote ${args.path}`;
    },
  );

  registry.resource(
    'file:///handbook.md',
    {
      name: 'handbook',
      title: 'Warehouse handbook',
      description: 'A file as a resource',
      mimeType: 'text/markdown',
      access: viewers,
      // The handbook changes with a release of the demo; a client may keep what it read for a while.
      cacheHint: { ttlMs: 60_000 },
    },
    async () => ({ text: await readText(root, 'handbook.md'), mimeType: 'text/markdown' }),
  );

  registry.resourceTemplate(
    'file:///{+path}',
    { name: 'file', title: 'Any file of the folder', mimeType: 'text/plain', access: viewers },
    async (variables) => {
      try {
        return { text: await readText(root, String(variables.path)), mimeType: 'text/plain' };
      } catch (error) {
        // Other errors name the folder's real place, so they stay inside.
        throw error instanceof ToolError ? new RpcError('resource_not_found', error.message) : error;
      }
    },
  );

  registry.resource(
    'memory://reads',
    {
      name: 'reads',
      title: 'Files read so far',
      description: 'Memory as a resource: a counter of this node',
      mimeType: 'application/json',
      access: viewers,
    },
    async () => ({ text: JSON.stringify({ reads }), mimeType: 'application/json' }),
  );

  registry.prompt(
    'summarise_file',
    { title: 'Summarise a file', description: 'Asks for a summary of one file.', arguments: z.object({ path }), access: viewers },
    async (args) => [
      { role: 'user', content: { type: 'text', text: `Summarise in three sentences:\n\n${await readText(root, args.path)}` } },
    ],
  );
  return registry;
}

async function readText(root: string, requested: string): Promise<string> {
  const file = await inside(root, requested);
  const info = await stat(file).catch(() => undefined);
  if (!info?.isFile()) throw new ToolError(`There is no file '${requested}'`);
  if (info.size > MAX_FILE_BYTES) throw new ToolError(`'${requested}' has ${info.size} bytes; at most ${MAX_FILE_BYTES} are served`);
  return readFile(file, 'utf8');
}

async function inside(root: string, requested: string): Promise<string> {
  try {
    return await resolveInside(root, requested);
  } catch {
    throw new ToolError(`'${requested}' is not a path below the served folder`);
  }
}

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}
