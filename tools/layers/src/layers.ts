import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

/** The layer of every package under `packages/`. A new package must be entered here to pass the check. */
export const LAYERS: Readonly<Record<string, 0 | 1 | 2>> = {
  core: 0,
  'secure-mcp-server': 1,
  'authenticated-tool-registry': 1,
  'rate-limited-rpc': 1,
  'encrypted-websocket': 1,
  'shared-state': 1,
  'audit-trail': 1,
  'mcp-client-pattern': 2,
  'distributed-mcp-pattern': 2,
};

/** Folders of `core/src` that may use Node's builtins; everything else in core runs anywhere. */
const CORE_NODE_FOLDERS = ['node', 'testing'];

const MAX_LINES = 400;

interface Manifest {
  readonly name: string;
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

/** Every rule broken by the packages under `root`, one sentence each, empty when all is well. */
export function brokenLayerRules(root: string, layers: Readonly<Record<string, number>> = LAYERS): string[] {
  const problems: string[] = [];
  for (const name of readdirSync(join(root, 'packages'))) {
    const layer = layers[name];
    if (layer === undefined) {
      problems.push(`packages/${name}: has no layer; enter it in tools/layers/src/layers.ts`);
      continue;
    }
    const folder = join(root, 'packages', name);
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
    const declared = new Set([...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.peerDependencies ?? {})]);
    for (const file of sources(join(folder, 'src'))) {
      const text = readFileSync(file, 'utf8');
      const where = relative(root, file);
      const lines = text.split('\n').length;
      if (lines > MAX_LINES) problems.push(`${where}: ${lines} lines; split it (limit ${MAX_LINES})`);
      for (const specifier of importsOf(text)) {
        const problem = check({ name, layer, declared, layers, specifier, file: relative(join(folder, 'src'), file), self: manifest.name });
        if (problem !== undefined) problems.push(`${where}: imports '${specifier}': ${problem}`);
      }
    }
  }
  return problems;
}

interface Import {
  readonly name: string;
  readonly self: string;
  readonly layer: number;
  readonly layers: Readonly<Record<string, number>>;
  readonly declared: ReadonlySet<string>;
  readonly specifier: string;
  readonly file: string;
}

function check({ name, self, layer, layers, declared, specifier, file }: Import): string | undefined {
  if (specifier.startsWith('.')) {
    return specifier.includes('../packages/') || specifier.includes('/src/') ? 'reaches into another package by path' : undefined;
  }
  if (specifier.startsWith('node:')) {
    const allowed = name !== 'core' || CORE_NODE_FOLDERS.some((folder) => file.startsWith(`${folder}/`));
    return allowed ? undefined : `core uses Node builtins only under src/{${CORE_NODE_FOLDERS.join(',')}}`;
  }
  const target = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  if (target === self) return 'a package does not import itself by name';
  if (target.startsWith('@mcp-blocks/')) {
    const other = layers[basename(target)];
    if (other === undefined) return 'sources import only packages under packages/';
    if (other >= layer) return `layer ${layer} may import lower layers only, and '${target}' is layer ${other}`;
    if (specifier.endsWith('/testing')) return 'contract suites are for tests';
  }
  return declared.has(target) ? undefined : 'not declared in dependencies or peerDependencies';
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

const IMPORT = /^\s*(?:import|export)\s[^;'"]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

/** Module specifiers of static imports, re-exports and literal dynamic imports. */
export function importsOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...code.matchAll(IMPORT)].map((match) => (match[1] ?? match[2] ?? match[3]) as string);
}
