import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { brokenLayerRules, importsOf } from '../src/layers.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layers-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const layers = { core: 0, lower: 1, sibling: 1, upper: 2 };

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function pkg(name: string, source: string, dependencies: Record<string, string> = {}, file = 'index.ts'): void {
  write(`packages/${name}/package.json`, JSON.stringify({ name: `@mcp-blocks/${name}`, dependencies }));
  write(`packages/${name}/src/${file}`, source);
}

describe('the layer check', () => {
  it('passes on this repository', () => {
    expect(brokenLayerRules(fileURLToPath(new URL('../../..', import.meta.url)))).toEqual([]);
  });

  it('lets a package import a lower layer it declares', () => {
    pkg('upper', "import { a } from '@mcp-blocks/lower';", { '@mcp-blocks/lower': '1' });
    expect(brokenLayerRules(root, layers)).toEqual([]);
  });

  it.each([
    ['a sibling', 'lower', "import { a } from '@mcp-blocks/sibling';", /lower layers only/],
    ['a higher layer', 'lower', "export * from '@mcp-blocks/upper';", /lower layers only/],
    ['an undeclared package', 'upper', "import 'left-pad';", /not declared/],
    ['a lower layer it does not declare', 'upper', "const a = await import('@mcp-blocks/lower');", /not declared/],
    ['another package by path', 'upper', "import { a } from '../../lower/src/index.js';", /by path/],
    ['Node builtins in core', 'core', "import fs from 'node:fs';", /Node builtins/],
    ['a package nobody gave a layer', 'stray', '', /has no layer/],
  ])('finds %s', (_what, name, source, message) => {
    pkg(name, source);
    expect(brokenLayerRules(root, layers)).toEqual([expect.stringMatching(message)]);
  });

  it('lets the named folders of core use Node builtins', () => {
    pkg('core', "import fs from 'node:fs';", {}, 'node/index.ts');
    expect(brokenLayerRules(root, layers)).toEqual([]);
  });
});

it('reads imports and not what is written in comments', () => {
  const source =
    "import type {\n  A,\n} from 'a';\n// import 'b';\n/* import 'c'; */\nexport { d } from 'd';\nimport 'e';\nawait import('f');";
  expect(importsOf(source)).toEqual(['a', 'd', 'e', 'f']);
});
