import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { JsonValue } from '@mcp-blocks/core';
import { ConfigFileError, type ConfigProblem, parseJson, pathText, schemaProblems } from './problems.js';
import { References } from './references.js';
import { type GatewayFile, gatewaySchema } from './schema.js';

/** A configuration file as it was when it was read. */
export interface ConfigFile {
  readonly file: GatewayFile;
  /** The file itself and those it takes values from. */
  readonly paths: readonly string[];
  /** The text without the values that came from variables and files, and without secrets. */
  redact(text: string): string;
}

/**
 * Reads and checks a configuration file.
 * @throws ConfigFileError with everything that is wrong; without any value that may be secret.
 */
export function readConfigFile(path: string, env: NodeJS.ProcessEnv): ConfigFile {
  const own = resolve(path);
  const absolute = (other: string) => resolve(dirname(own), other);
  const references = new References(env, absolute);
  const raw = parseJson(textOf(own));
  const problems: ConfigProblem[] = [];
  const expanded = references.expand(raw as JsonValue, problems);
  if (problems.length === 0) {
    const schema = gatewaySchema((reference, secret) => references.resolve(reference, secret), absolute);
    const checked = schemaProblems(schema, expanded, raw);
    problems.push(...('file' in checked ? unusedOptions(raw) : checked.problems));
    if ('file' in checked && problems.length === 0) {
      return {
        file: checked.file as GatewayFile,
        paths: [own, ...references.files],
        redact: (text) => references.redact(text),
      };
    }
  }
  throw new ConfigFileError(problems.map(({ path: at, message }) => ({ path: at, message: references.redact(message) })));
}

/** A program has no nodes, and so none of their options. The schema cannot tell an option from its default. */
function unusedOptions(raw: unknown): ConfigProblem[] {
  const { services } = raw as { readonly services: Readonly<Record<string, object>> };
  return Object.entries(services).flatMap(([name, entry]) => {
    if (!('stdio' in entry)) return [];
    const others = Object.keys(entry).filter((key) => key !== 'stdio');
    return others.map((key) => ({ path: pathText(['services', name, key]), message: 'has no effect beside stdio' }));
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    throw new ConfigFileError([{ path: '', message: `cannot be read (${(error as NodeJS.ErrnoException).code})` }]);
  }
}
