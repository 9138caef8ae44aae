import { fileURLToPath } from 'node:url';
import { build, defaultClientConditions } from 'vite';

/** What a bundler makes of a module for browsers. */
export interface Bundle {
  /** The chunks by path; the first is the one to load. */
  readonly chunks: ReadonlyMap<string, string>;
  /** What a page that loads it gets at once, minified. */
  readonly code: string;
  /** The names under which modules were imported, from anywhere. */
  readonly imports: readonly string[];
}

/**
 * Bundles a module for browsers from the packages' sources.
 *
 * @param source - the module's text; relative imports start at this folder.
 * @param mode - `development` is what React needs to mount twice under StrictMode.
 */
export async function bundle(source: string, mode: 'production' | 'development' = 'production'): Promise<Bundle> {
  const imports: string[] = [];
  const entry = fileURLToPath(new URL('entry.tsx', import.meta.url));
  const output = await build({
    configFile: false,
    root: fileURLToPath(new URL('.', import.meta.url)),
    logLevel: 'silent',
    define: { 'process.env.NODE_ENV': JSON.stringify(mode) },
    resolve: { conditions: ['@mcp-blocks/source', ...defaultClientConditions] },
    plugins: [
      {
        name: 'entry',
        enforce: 'pre',
        resolveId(id) {
          if (id === entry) return entry;
          imports.push(id);
          return undefined;
        },
        load: (id) => (id === entry ? source : undefined),
      },
    ],
    build: {
      write: false,
      target: 'es2022',
      rolldownOptions: { input: entry, preserveEntrySignatures: 'strict' },
    },
  });
  const chunks = [output]
    .flat()
    .flatMap((one) => ('output' in one ? one.output : []))
    .filter((one) => one.type === 'chunk')
    .sort((one, other) => Number(other.isEntry) - Number(one.isEntry));
  const atOnce = new Set(chunks.slice(0, 1));
  // What is added on the way is looked at too.
  for (const { imports: names } of atOnce) for (const chunk of chunks) if (names.includes(chunk.fileName)) atOnce.add(chunk);
  return {
    chunks: new Map(chunks.map(({ fileName, code }) => [`/${fileName}`, code])),
    code: [...atOnce].map(({ code }) => code).join('\n'),
    imports,
  };
}
