import { ConfigurationError } from '@mcp-blocks/core';

interface Expression {
  readonly name: string;
  /** `{+name}`: the value may hold `/`, `?` and `#`. */
  readonly reserved: boolean;
}

const EXPRESSION = /^(\+?)([A-Za-z_][A-Za-z0-9_]*)$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/**
 * A URI template of RFC 6570 levels 1 and 2: `{name}` for a value within one segment, `{+name}` for one
 * that may span several.
 *
 * Matching reads a URI backwards into values, percent-decoded. Where several readings are possible, each
 * value is the shortest that lets the rest match in order. It takes time linear in the URI. A value with
 * a `..` segment or a NUL, plain or encoded, matches nothing, so no reader sees one.
 */
export class UriTemplate {
  readonly template: string;
  readonly variables: readonly string[];
  /** One more literal than there are expressions; between two expressions never empty. */
  readonly #literals: readonly string[];
  readonly #expressions: readonly Expression[];
  /** The literals, percent-decoded. */
  readonly #plainLiterals: readonly string[];

  /** @throws ConfigurationError `uriTemplate` for a template without scheme or expression, or of a higher level. */
  constructor(template: string) {
    const refuse = (expected: string) => new ConfigurationError('uriTemplate', `${expected}, got '${template}'`);
    if (typeof template !== 'string' || !SCHEME.test(template)) throw refuse('expected an absolute URI template such as db://orders/{id}');
    const literals: string[] = [];
    const expressions: Expression[] = [];
    const names = new Set<string>();
    for (const [index, part] of template.split(/[{}]/).entries()) {
      if (index % 2 === 0) {
        literals.push(part);
        continue;
      }
      const [, plus, name] = EXPRESSION.exec(part) ?? [];
      if (name === undefined) throw refuse('expected {name} or {+name} (RFC 6570 levels 1 and 2)');
      if (names.has(name)) throw refuse(`{${name}} occurs twice`);
      names.add(name);
      expressions.push({ name, reserved: plus === '+' });
    }
    // Balanced braces alternate, so the pieces put together again give the template.
    const again = literals.map(
      (literal, i) => literal + (expressions[i] ? `{${expressions[i].reserved ? '+' : ''}${expressions[i].name}}` : ''),
    );
    if (again.join('') !== template) throw refuse('expected balanced braces');
    if (expressions.length === 0) throw refuse('expected at least one {name}; a fixed URI is a resource');
    if (literals.slice(1, -1).includes('')) throw refuse('expected text between two expressions');
    this.template = template;
    this.variables = [...names];
    this.#literals = literals;
    this.#expressions = expressions;
    this.#plainLiterals = literals.map(percentDecoded);
  }

  /** The variables' values, or `undefined` when the URI is not of this template. */
  match(uri: string): Readonly<Record<string, string>> | undefined {
    const raw = this.#split(uri, this.#literals);
    if (raw === undefined) return undefined;
    const values: [string, string][] = [];
    for (const [index, { name }] of this.#expressions.entries()) {
      const value = decoded(raw[index] as string);
      if (value === undefined) return undefined;
      values.push([name, value]);
    }
    return Object.fromEntries(values);
  }

  /** Whether a URI is of this template that was percent-decoded before, see {@link percentDecoded}. */
  covers(plain: string): boolean {
    return this.#split(plain, this.#plainLiterals) !== undefined;
  }

  /** What stands for each expression, as it is written. */
  #split(uri: string, literals: readonly string[]): string[] | undefined {
    const first = literals[0] as string;
    const last = literals[literals.length - 1] as string;
    const end = uri.length - last.length;
    if (!uri.startsWith(first) || !uri.endsWith(last)) return undefined;
    const values: string[] = [];
    let from = first.length;
    for (const [index, { reserved }] of this.#expressions.entries()) {
      const isLast = index === this.#expressions.length - 1;
      const next = literals[index + 1] as string;
      const to = isLast ? end : uri.indexOf(next, from + 1);
      if (to <= from || to > end) return undefined;
      const value = uri.slice(from, to);
      if (!reserved && /[/?#]/.test(value)) return undefined;
      values.push(value);
      from = to + next.length;
    }
    return values;
  }
}

/** A URI without percent-encoding, in which all its spellings are equal; as it is when the encoding is malformed. */
export function percentDecoded(uri: string): string {
  try {
    return decodeURIComponent(uri);
  } catch {
    return uri;
  }
}

function decoded(raw: string): string | undefined {
  let value: string;
  try {
    value = decodeURIComponent(raw);
  } catch {
    return undefined;
  }
  return value.includes('\0') || value.split(/[/\\]/).includes('..') ? undefined : value;
}
