import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RpcError } from '@mcp-blocks/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveInside } from '../src/node/index.js';

let base: string;
let root: string;

beforeAll(async () => {
  base = await realpath(await mkdtemp(path.join(tmpdir(), 'resolve-inside-')));
  root = path.join(base, 'root');
  await mkdir(path.join(root, 'docs'), { recursive: true });
  await mkdir(path.join(base, 'root-sibling'));
  await writeFile(path.join(root, 'docs', 'a.md'), 'inside');
  await writeFile(path.join(root, '..hidden'), 'inside');
  await writeFile(path.join(base, 'secret'), 'outside');
  await writeFile(path.join(base, 'root-sibling', 'secret'), 'outside');
  await symlink(path.join(root, 'docs'), path.join(root, 'link-inside'));
  await symlink(base, path.join(root, 'link-up'));
  await symlink('../secret', path.join(root, 'link-to-secret'));
  await symlink(path.join(base, 'not-there'), path.join(root, 'link-to-nothing'));
  await symlink(path.join(root, 'loop'), path.join(root, 'loop'));
  await symlink(path.join(root, 'link-up'), path.join(root, 'link-to-link'));
  await symlink(root, path.join(base, 'root-by-link'));
});

afterAll(() => rm(base, { recursive: true, force: true }));

describe('a path inside is resolved to the real file', () => {
  it.each([
    ['a file', 'docs/a.md', 'docs/a.md'],
    ['the root by an empty path', '', ''],
    ['the root by a dot', '.', ''],
    ['a path with dots', './docs/./a.md', 'docs/a.md'],
    ['a path with double slashes', 'docs//a.md', 'docs/a.md'],
    ['a name that begins with dots', '..hidden', '..hidden'],
    ['a link that stays inside', 'link-inside/a.md', 'docs/a.md'],
    ['a file that does not exist yet', 'docs/new.md', 'docs/new.md'],
    ['a file in folders that do not exist yet', 'x/y/new.md', 'x/y/new.md'],
    ['a new file behind a link that stays inside', 'link-inside/x/new.md', 'docs/x/new.md'],
    ['an encoded dot segment, which is just a name', '%2e%2e', '%2e%2e'],
    ['a name of a prototype', '__proto__', '__proto__'],
  ])('%s', async (_name, given, expected) => {
    expect(await resolveInside(root, given)).toBe(path.join(root, expected));
    expect(await resolveInside(path.join(base, 'root-by-link'), given)).toBe(path.join(root, expected));
  });
});

describe('a path that leads out is refused, always in the same words', () => {
  it.each([
    ['a parent', '..'],
    ['a file in the parent', '../secret'],
    ['a folder whose name begins like the root', '../root-sibling/secret'],
    ['a parent further in', 'docs/../../secret'],
    ['a parent that would come back', 'docs/../docs/a.md'],
    ['a backslash parent', '..\\secret'],
    ['a mixed parent', 'docs\\../..\\secret'],
    ['an absolute path', '/etc/passwd'],
    ['an absolute Windows path', '\\\\server\\share'],
    ['a drive', 'C:\\secret'],
    ['a drive without slash', 'C:secret'],
    ['a NUL', 'docs/a.md\0.png'],
    ['a link to a file outside', 'link-to-secret'],
    ['a file through a link to a folder outside', 'link-up/secret'],
    ['a folder outside itself', 'link-up'],
    ['a file through a link to a link', 'link-to-link/secret'],
    ['a new file through a link outside', 'link-up/new.md'],
    ['new folders through a link outside', 'link-up/x/y/new.md'],
    ['a link to nothing, which writing would make', 'link-to-nothing'],
    ['a path through a link to nothing', 'link-to-nothing/x'],
    ['a link to itself', 'loop'],
    ['a path through a file', 'docs/a.md/x'],
  ])('%s', async (_name, given) => {
    await expect(resolveInside(root, given)).rejects.toMatchObject({
      code: 'resource_not_found',
      message: 'No such file',
      auditReason: expect.any(String),
    });
  });

  it.each([undefined, null, 5, ['docs']])('something that is no path: %j', async (given) => {
    await expect(resolveInside(root, given as unknown as string)).rejects.toBeInstanceOf(RpcError);
  });

  it('whatever is put together', async () => {
    const piece = fc.constantFrom(
      '..',
      '.',
      'docs',
      'link-up',
      'link-inside',
      'link-to-secret',
      'link-to-link',
      'secret',
      'root-sibling',
      'a.md',
      '',
      'C:',
    );
    const separator = fc.constantFrom('/', '\\', '//');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), separator, async (pieces, by) => {
        const found = await resolveInside(root, pieces.join(by)).catch((error: unknown) => {
          expect(error).toBeInstanceOf(RpcError);
          return undefined;
        });
        if (found === undefined) return;
        expect(found === root || found.startsWith(root + path.sep)).toBe(true);
        expect(await readFile(found, 'utf8').catch(() => 'no file')).not.toBe('outside');
      }),
      { numRuns: 300 },
    );
  });

  it('a root that does not exist is a mistake of the server, told as it is', async () => {
    await expect(resolveInside(path.join(base, 'no-root'), 'a')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
