import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What to generate. */
export interface NewBlock {
  /** The package's name without scope: kebab-case. */
  readonly name: string;
  /** 1: a block beside the others, imports core only. 2: composes blocks of layer 1. */
  readonly layer: 1 | 2;
  readonly description: string;
}

/**
 * Writes a package under `packages/` and enters it in the project's lists. Returns the files written.
 *
 * @throws Error when the name is not kebab-case or the package exists.
 */
export function newBlock(root: string, { name, layer, description }: NewBlock): string[] {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) throw new Error(`name: expected kebab-case such as 'session-replay', got '${name}'`);
  const folder = join('packages', name);
  if (existsSync(join(root, folder))) throw new Error(`name: ${folder} exists already`);
  const core = JSON.parse(readFileSync(join(root, 'packages/core/package.json'), 'utf8')) as Record<string, unknown> & {
    version: string;
    devDependencies: Record<string, string>;
  };
  const camel = name.replace(/-([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
  const manifest = {
    name: `@mcp-blocks/${name}`,
    version: core.version,
    description,
    license: 'Apache-2.0',
    type: 'module',
    sideEffects: false,
    keywords: ['mcp', 'model-context-protocol', name],
    repository: { ...(core.repository as object), directory: folder },
    engines: core.engines,
    exports: {
      '.': { '@mcp-blocks/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/index.js' },
      './package.json': './package.json',
    },
    files: core.files,
    scripts: {
      build: 'tsc -b',
      test: `vitest run --root ../.. ${folder}`,
      packaging: 'publint --strict && attw --pack . --profile esm-only',
    },
    dependencies: { '@mcp-blocks/core': core.version },
    devDependencies: { vitest: core.devDependencies.vitest },
    publishConfig: core.publishConfig,
  };
  const files: Record<string, string> = {
    'package.json': json(manifest),
    'tsconfig.json': compactJson({
      extends: '../../tsconfig.base.json',
      compilerOptions: { rootDir: 'src', outDir: 'dist', tsBuildInfoFile: 'dist/.tsbuildinfo' },
      include: ['src'],
      references: [{ path: '../core' }],
    }),
    'README.md': readme(name, camel, description),
    'src/index.ts': `export { ${camel} } from './${name}.js';\n`,
    [`src/${name}.ts`]: source(camel, description),
    [`test/${name}.test.ts`]: test(name, camel),
  };
  const written: string[] = [];
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    written.push(path);
  };
  for (const [file, text] of Object.entries(files)) write(join(folder, file), text);
  cpSync(join(root, 'LICENSE'), join(root, folder, 'LICENSE'));
  written.push(join(folder, 'LICENSE'));

  const tsconfig = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as { references: { path: string }[] };
  tsconfig.references.push({ path: folder });
  write('tsconfig.json', json(tsconfig));
  const layers = readFileSync(join(root, 'tools/layers/src/layers.ts'), 'utf8');
  const key = name.includes('-') ? `'${name}'` : name;
  write('tools/layers/src/layers.ts', layers.replace(/(LAYERS[^{]*\{[\s\S]*?)(\n\};)/, `$1\n  ${key}: ${layer},$2`));
  write(`.changeset/new-${name}.md`, `---\n'@mcp-blocks/${name}': minor\n---\n\n${description}\n`);
  return written;
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** As `json`, with lists of one text on one line, where the formatter wants them in any file but package.json. */
const compactJson = (value: unknown) => json(value).replaceAll(/\[\n\s+("[^"\n]*")\n\s+\]/g, '[$1]');

function source(camel: string, description: string): string {
  return `import type { RpcMiddleware } from '@mcp-blocks/core';

/** ${description} */
export function ${camel}(): RpcMiddleware {
  return (next) => (request, context) => next(request, context);
}
`;
}

function test(name: string, camel: string): string {
  return `import { testContext } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import { ${camel} } from '../src/index.js';

it('hands the request to the handler it wraps (${name})', async () => {
  const handler = ${camel}()(async ({ method }) => ({ method }));
  expect(await handler({ method: 'ping', params: {} }, testContext())).toEqual({ method: 'ping' });
});
`;
}

function readme(name: string, camel: string, description: string): string {
  return `# @mcp-blocks/${name}

${description}

\`\`\`sh
npm install @mcp-blocks/${name}
\`\`\`

\`\`\`ts
import { ${camel} } from '@mcp-blocks/${name}';

const middleware = [${camel}()];
\`\`\`
`;
}
