import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newBlock } from '../src/new-block.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'new-block-'));
  for (const file of ['LICENSE', 'tsconfig.json', 'packages/core/package.json', 'tools/layers/src/layers.ts']) {
    mkdirSync(join(root, file, '..'), { recursive: true });
    cpSync(join(REPOSITORY, file), join(root, file));
  }
});
afterEach(() => rmSync(root, { recursive: true }));

it('writes a package and enters it where the project keeps its lists', () => {
  const written = newBlock(root, { name: 'session-replay', layer: 1, description: 'Replays sessions.' });
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  expect(written).toContain('packages/session-replay/src/session-replay.ts');
  expect(JSON.parse(read('packages/session-replay/package.json'))).toMatchObject({
    name: '@mcp-blocks/session-replay',
    dependencies: { '@mcp-blocks/core': expect.any(String) },
  });
  expect(JSON.parse(read('tsconfig.json')).references).toContainEqual({ path: 'packages/session-replay' });
  expect(read('tools/layers/src/layers.ts')).toMatch(/'distributed-mcp-pattern': 2,\n {2}'session-replay': 1,\n\};/);
  expect(read('packages/session-replay/src/session-replay.ts')).toContain('export function sessionReplay()');
  expect(read('.changeset/new-session-replay.md')).toContain("'@mcp-blocks/session-replay': minor");
});

it('writes what the formatter would leave as it is', () => {
  newBlock(root, { name: 'session-replay', layer: 1, description: 'Replays sessions.' });
  cpSync(join(REPOSITORY, 'biome.json'), join(root, 'biome.json'));
  const biome = join(REPOSITORY, 'node_modules/.bin/biome');
  const { stderr, status } = spawnSync(biome, ['ci', '--error-on-warnings', '--vcs-enabled=false', '.'], { cwd: root, encoding: 'utf8' });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
});

it.each(['Session', 'session_replay', '-a', '../a', ''])('refuses the name %j', (name) => {
  expect(() => newBlock(root, { name, layer: 1, description: '' })).toThrow(/kebab-case/);
});

it('does not overwrite a package', () => {
  expect(() => newBlock(root, { name: 'core', layer: 1, description: '' })).toThrow(/exists already/);
});
