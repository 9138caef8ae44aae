import type { z } from 'zod';

/** One thing that is wrong with a configuration, and where. */
export interface ConfigProblem {
  /** As in `services.orders.urls[0]`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A configuration file that cannot be used. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('\n'));
    this.problems = problems;
  }
}

export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const name = /^[\w$-]+$/.test(String(key)) ? String(key) : JSON.stringify(key);
    return text === '' ? name : `${text}.${name}`;
  }, '');
}

/** Codes of issues about a value on its own, which can be shown beside what was expected. */
const ABOUT_A_VALUE: ReadonlySet<string> = new Set(['invalid_type', 'invalid_value', 'too_small', 'too_big', 'invalid_format']);

/**
 * What the schema does not accept in a file, with what was found there and what was expected.
 *
 * @param raw - the file as it was written: values of variables are not shown.
 */
export function schemaProblems(schema: z.ZodType, value: unknown, raw: unknown): { problems: ConfigProblem[] } | { file: unknown } {
  const known = new Map<string, readonly string[]>();
  const parsed = schema.safeParse(value, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return expectation(issue);
      const { shape } = issue.inst as unknown as { readonly shape: object };
      known.set(pathText(issue.path ?? []), Object.keys(shape));
      return undefined;
    },
  });
  if (parsed.success) return { file: parsed.data };
  const problems = parsed.error.issues.flatMap((issue): ConfigProblem[] => {
    const path = pathText(issue.path);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: pathText([...issue.path, key]), message: unknownKey(key, known.get(path) ?? []) }));
    }
    if (issue.code === 'invalid_key') return [{ path, message: issue.issues[0]?.message ?? issue.message }];
    const shown = ABOUT_A_VALUE.has(issue.code) && !/\b(got|found) /.test(issue.message) ? `, found ${found(raw, issue.path)}` : '';
    return [{ path, message: `${issue.message}${shown}` }];
  });
  return { problems };
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function expectation(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return `expected ${TYPES[issue.expected] ?? issue.expected}`;
  if (issue.code === 'invalid_value') return `expected ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
  return undefined;
}

function found(raw: unknown, path: readonly PropertyKey[]): string {
  const value = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], raw);
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function unknownKey(key: string, known: readonly string[]): string {
  const nearest = known
    .map((name) => ({ name, distance: distance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  if (nearest !== undefined && nearest.distance <= Math.max(1, Math.floor(key.length / 3))) {
    return `is not an option here; did you mean ${nearest.name}?`;
  }
  return `is not an option here; there are ${known.filter((name) => name !== '$schema').join(', ')}`;
}

/** How many letters are put in, left out, changed or swapped between two words. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const at = (up: number, left: number) => (up === 0 ? row : rows[i - up])?.[j - left] ?? 0;
      const changed = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(at(1, 0) + 1, at(0, 1) + 1, at(1, 1) + changed);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, at(2, 2) + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

/**
 * The value of a JSON text. Where it is none the error says where, and nothing of what is there: that may be a
 * secret, and the runtime's own message quotes it.
 *
 * @throws ConfigFileError
 */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    // The shortest beginning that no JSON text has ends with the offending character.
    let [good, bad] = [0, json.length];
    while (bad - good > 1) {
      const middle = (good + bad) >> 1;
      if (isBeginning(json.slice(0, middle))) good = middle;
      else bad = middle;
    }
    const complete = isBeginning(json);
    const before = json.slice(0, complete ? json.length : good).split('\n');
    const place = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    throw new ConfigFileError([
      { path: '', message: `is not JSON: ${complete ? 'the text ends too early, at' : 'unexpected character in'} ${place}` },
    ]);
  }
}

function isBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    const position = /at position (\d+)/.exec(message)?.[1];
    return /end of JSON input|Unterminated/.test(message) || Number(position) === text.length;
  }
}
