import { readFileSync } from 'node:fs';
import type { JsonValue } from '@mcp-blocks/core';
import type { Reference } from './parts.js';
import { type ConfigProblem, pathText } from './problems.js';

/** Shorter ones would take other words out of messages too. */
const MIN_SECRET_LENGTH = 4;
const MIN_VARIABLE_LENGTH = 8;

/** What a configuration takes from variables and files, and keeps out of everything that is printed. */
export class References {
  readonly #env: NodeJS.ProcessEnv;
  readonly #absolute: (path: string) => string;
  /** What is not printed, with what is instead. */
  readonly #hidden = new Map<string, string>();
  /** Every file that a value came from. */
  readonly files = new Set<string>();

  constructor(env: NodeJS.ProcessEnv, absolute: (path: string) => string) {
    this.#env = env;
    this.#absolute = absolute;
  }

  /** Puts the values of variables in the place of every `${NAME}` in every string; `$${` is a plain `${`. */
  expand(json: JsonValue, problems: ConfigProblem[], path: readonly PropertyKey[] = []): JsonValue {
    if (Array.isArray(json)) return json.map((item, index) => this.expand(item, problems, [...path, index]));
    if (typeof json === 'object' && json !== null) {
      const entries = Object.entries(json).map(([key, value]) => [key, this.expand(value as JsonValue, problems, [...path, key])] as const);
      return Object.fromEntries(entries);
    }
    if (typeof json !== 'string') return json;
    return json.replace(/\$(\$?)\{([^}]*)\}/g, (whole, escaped: string, name: string) => {
      if (escaped !== '') return whole.slice(1);
      const resolved = this.#variable(name);
      if ('problem' in resolved) {
        problems.push({ path: pathText(path), message: resolved.problem });
        return whole;
      }
      if (resolved.value.length >= MIN_VARIABLE_LENGTH) this.#hidden.set(resolved.value, `\${${name}}`);
      return resolved.value;
    });
  }

  resolve(reference: Reference, secret: boolean): { value: string } | { problem: string } {
    const resolved =
      typeof reference === 'string'
        ? { value: reference }
        : 'env' in reference
          ? this.#variable(reference.env)
          : this.#file(this.#absolute(reference.file));
    if ('value' in resolved && (secret || typeof reference !== 'string') && resolved.value.length >= MIN_SECRET_LENGTH) {
      this.#hidden.set(resolved.value, '***');
    }
    return resolved;
  }

  /** The text without any of the values. */
  redact(text: string): string {
    // The longest first: one may be part of another.
    const hidden = [...this.#hidden].sort(([a], [b]) => b.length - a.length);
    return hidden.reduce((redacted, [value, shown]) => redacted.replaceAll(value, shown), text);
  }

  #variable(name: string): { value: string } | { problem: string } {
    if (!/^[A-Za-z_]\w*$/.test(name)) return { problem: `expected the name of an environment variable, found ${JSON.stringify(name)}` };
    const value = this.#env[name];
    return value === undefined || value === '' ? { problem: `the environment variable ${name} is not set` } : { value };
  }

  #file(path: string): { value: string } | { problem: string } {
    this.files.add(path);
    try {
      const value = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
      return value === '' ? { problem: `the file ${path} is empty` } : { value };
    } catch (error) {
      return { problem: `the file ${path} cannot be read (${(error as NodeJS.ErrnoException).code})` };
    }
  }
}
