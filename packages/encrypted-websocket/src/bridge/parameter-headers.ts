import { isJsonObject, type JsonObject, type JsonValue } from '@mcp-blocks/core';

/** One annotated property of a tool's input: where its value is, and the header it goes into. */
interface Declaration {
  readonly path: readonly string[];
  readonly header: string;
}

const KEY = 'x-mcp-header';
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);

/**
 * Which arguments of which tool are mirrored into `Mcp-Param-*` headers, learned from the `tools/list`
 * results that pass by (2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool Parameters").
 */
export class ParameterHeaders {
  readonly #tools = new Map<string, readonly Declaration[]>();

  /**
   * @param warn - told of each tool whose annotations are not valid.
   * @returns the result without those tools, as the specification asks of a client over HTTP.
   */
  learn(result: JsonObject, warn: (text: string) => void): JsonObject {
    if (!Array.isArray(result.tools)) return result;
    const tools = result.tools.filter((tool) => {
      if (!isJsonObject(tool) || typeof tool.name !== 'string') return true;
      const declarations = declarationsOf(tool.inputSchema);
      if (declarations === undefined) {
        warn(`Tool ${JSON.stringify(tool.name)} is left out: its ${KEY} annotations are not valid`);
        return false;
      }
      this.#tools.set(tool.name, declarations);
      return true;
    });
    return tools.length === result.tools.length ? result : { ...result, tools };
  }

  /** The headers of a call. */
  of({ name, arguments: values }: JsonObject): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const { path, header } of this.#tools.get(String(name)) ?? []) {
      const text = textOf(path.reduce<JsonValue | undefined>((node, key) => (isJsonObject(node) ? node[key] : undefined), values));
      if (text !== undefined) headers[`mcp-param-${header}`] = encodeHeaderValue(text);
    }
    return headers;
  }
}

/**
 * A value as a header can carry it: as it is, or in the specification's Base64 form where it holds anything
 * but visible ASCII, or could be taken for that form ("Value Encoding").
 */
export function encodeHeaderValue(value: string): string {
  const plain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !/^=\?base64\?.*\?=$/.test(value);
  return plain ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`;
}

function textOf(value: JsonValue | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || Number.isSafeInteger(value) ? String(value) : undefined;
}

/** `undefined` where an annotation breaks a rule of the specification. */
function declarationsOf(schema: JsonValue | undefined): readonly Declaration[] | undefined {
  const found: Declaration[] = [];
  const valid = visit(schema, [], true, found);
  const names = new Set(found.map(({ header }) => header.toLowerCase()));
  return valid && names.size === found.length ? found : undefined;
}

function visit(node: JsonValue | undefined, path: readonly string[], reachable: boolean, found: Declaration[]): boolean {
  if (Array.isArray(node)) return node.every((item) => visit(item, path, false, found));
  if (!isJsonObject(node)) return true;
  const annotation = node[KEY];
  if (annotation !== undefined) {
    if (!reachable || path.length === 0 || typeof annotation !== 'string' || !TOKEN.test(annotation) || !TYPES.has(node.type)) return false;
    found.push({ path, header: annotation });
  }
  return Object.entries(node).every(([keyword, child]) => {
    if (keyword === 'properties' && isJsonObject(child)) {
      return Object.entries(child).every(([name, property]) => visit(property, [...path, name], reachable, found));
    }
    // Values, not schemas.
    if (keyword === 'default' || keyword === 'const' || keyword === 'enum' || keyword === 'examples') return true;
    return visit(child, path, false, found);
  });
}
