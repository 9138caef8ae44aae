import { isJsonObject, type JsonObject, type JsonValue } from '@mcp-blocks/core';

/** What may stand in place of a masked field. */
export type Loosening = '***' | 'remove' | 'any';

/**
 * A copy of a JSON Schema in which the field at `path` may also be masked, or `undefined` when the schema
 * knows no such field. Follows `properties`, `additionalProperties`, `items`, `prefixItems`, `anyOf`,
 * `oneOf`, `allOf` and local `$ref`s, which are written out on the way.
 */
export function loosened(schema: JsonObject, path: readonly string[], loosening: Loosening): JsonObject | undefined {
  const copy = structuredClone(schema);
  return visit(copy, path, { root: copy, loosening }, MAX_DEPTH) ? copy : undefined;
}

/** A schema that contains itself has no end. */
const MAX_DEPTH = 32;

interface Walk {
  readonly root: JsonObject;
  readonly loosening: Loosening;
}

function visit(node: unknown, path: readonly string[], walk: Walk, depth: number): boolean {
  if (!isJsonObject(node) || depth === 0) return false;
  inline(node, walk.root);
  let found = false;
  for (const key of ['anyOf', 'oneOf', 'allOf', 'prefixItems']) {
    const branches = node[key];
    if (Array.isArray(branches)) for (const branch of branches) found = visit(branch, path, walk, depth - 1) || found;
  }
  if (node.items !== undefined) found = visit(node.items, path, walk, depth - 1) || found;
  const [name, ...rest] = path as [string, ...string[]];
  const { properties, additionalProperties } = node;
  const fields = isJsonObject(properties) ? properties : {};
  for (const member of name === '*' ? Object.keys(fields) : Object.hasOwn(fields, name) ? [name] : []) {
    found = step(node, fields, member, rest, walk, depth) || found;
  }
  if (isJsonObject(additionalProperties) && !Object.hasOwn(fields, name)) {
    found = step(node, node, 'additionalProperties', rest, walk, depth) || found;
  }
  return found;
}

function step(owner: JsonObject, holder: JsonObject, member: string, rest: readonly string[], walk: Walk, depth: number): boolean {
  if (rest.length > 0) return visit(holder[member], rest, walk, depth - 1);
  const { loosening } = walk;
  const field = holder[member] as JsonValue;
  if (loosening === 'any')
    holder[member] = isJsonObject(field) && field.description !== undefined ? { description: field.description } : {};
  if (loosening === '***') holder[member] = { anyOf: [field, { const: '***' }] };
  if (loosening === 'remove' && Array.isArray(owner.required)) owner.required = owner.required.filter((name) => name !== member);
  return true;
}

/** Replaces a local reference by a copy of its target, so that loosening it changes nothing elsewhere. */
function inline(node: JsonObject, root: JsonObject): void {
  const { $ref } = node;
  if (typeof $ref !== 'string' || !$ref.startsWith('#/')) return;
  let target: unknown = root;
  for (const part of $ref.slice(2).split('/')) {
    target = isJsonObject(target) ? target[decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
  }
  if (!isJsonObject(target)) return;
  delete node.$ref;
  Object.assign(node, { ...structuredClone(target), ...node });
}
