import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

function reachableFrom(entry: string): string[] {
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/from '([^']+)'/g)) {
      if (specifier?.startsWith('.')) visit(join(dirname(file), specifier.replace(/\.js$/, '.ts')));
    }
  };
  visit(entry);
  return [...seen];
}

it('the main entry reaches no Node builtin and no dependency, so it runs anywhere', () => {
  for (const file of reachableFrom(join(SRC, 'index.ts'))) {
    const foreign = [...readFileSync(file, 'utf8').matchAll(/from '([^'.][^']*)'/g)].map((match) => match[1]);
    expect(foreign, file).toEqual([]);
  }
});

it('every module of core is reachable from an entry', () => {
  const entries = ['index.ts', 'sdk/index.ts', 'node/index.ts', 'otel/index.ts', 'testing/index.ts'];
  const reachable = new Set(entries.flatMap((entry) => reachableFrom(join(SRC, entry))));
  const all = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  expect(all.filter((file) => !reachable.has(join(SRC, file)))).toEqual([]);
});
