import { ConfigurationError, isJsonObject, type JsonObject } from '@mcp-blocks/core';

const HEADER_KEY = 'x-mcp-header';
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PRIMITIVES: readonly unknown[] = ['string', 'integer', 'boolean'];

/**
 * Checks the `x-mcp-header` declarations of a tool's input schema (MCP 2026-07-28, server/tools,
 * "x-mcp-header"). Clients drop a tool that breaks these rules, so it is refused here, where its author
 * sees why.
 *
 * @throws ConfigurationError naming the property.
 */
export function checkHeaderParameters(schema: JsonObject, option: string): void {
  const seen = new Set<string>();
  visit(schema, option, false);

  function visit(node: unknown, path: string, declarable: boolean): void {
    if (Array.isArray(node)) {
      for (const [index, child] of node.entries()) visit(child, `${path}[${index}]`, false);
      return;
    }
    if (!isJsonObject(node)) return;
    if (Object.hasOwn(node, HEADER_KEY)) checkDeclaration(node, path, declarable);
    const reachable = declarable || path === option;
    for (const [key, child] of Object.entries(node)) {
      if (key === 'properties' && isJsonObject(child)) {
        for (const [name, property] of Object.entries(child)) visit(property, `${path}.${name}`, reachable);
      } else if (!DATA.has(key)) {
        visit(child, `${path}.${key}`, false);
      }
    }
  }

  function checkDeclaration(node: JsonObject, path: string, declarable: boolean): void {
    const name = node[HEADER_KEY];
    const refuse = (expected: string) => new ConfigurationError(`${path}.${HEADER_KEY}`, expected);
    if (!declarable) throw refuse('allowed only on properties reached through properties alone, not through arrays, unions or references');
    if (typeof name !== 'string' || !TOKEN.test(name)) throw refuse(`expected a header field name, got ${JSON.stringify(name)}`);
    if (!PRIMITIVES.includes(node.type)) throw refuse('allowed only on strings, integers and booleans');
    if (seen.has(name.toLowerCase())) throw refuse(`'${name}' is declared twice`);
    seen.add(name.toLowerCase());
  }
}

/** Keywords whose values are data, not schemas. */
const DATA: ReadonlySet<string> = new Set(['default', 'const', 'enum', 'examples', HEADER_KEY]);
