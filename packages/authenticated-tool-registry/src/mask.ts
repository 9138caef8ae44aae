import { ConfigurationError, isJsonObject, type JsonObject, type JsonValue } from '@mcp-blocks/core';
import { AccessPolicy } from './access-policy.js';
import type { Access } from './access-rule.js';
import { loosened } from './mask-schema.js';

/** A field of a tool's structured content that only some callers see. */
export interface Mask {
  /** Members from the root, joined by dots or as a list: `customer.iban`. Lists on the way are entered; `*` is every member. */
  readonly path: string | readonly string[];
  /** Who sees the field as it is. Same rules as for access, with the arguments of the call. */
  readonly unless: Access;
  /** What others get in its place: `'***'`, no such member, or what the function makes of the value. Default: `'***'`. */
  readonly with?: '***' | 'remove' | ((value: JsonValue) => JsonValue);
}

/** A checked {@link Mask}. */
export interface CompiledMask {
  readonly path: readonly string[];
  readonly unless: AccessPolicy;
  readonly with: NonNullable<Mask['with']>;
}

/**
 * Checks masks, and makes the output schema that clients see allow for them: a masked field may be `***`,
 * absent, or anything at all where a function makes it.
 *
 * @throws ConfigurationError for a path that the output schema does not have.
 */
export function compileMasks(masks: readonly Mask[], outputSchema: JsonObject, option: string) {
  if (!Array.isArray(masks) || masks.length === 0) throw new ConfigurationError(option, 'expected at least one mask');
  let schema = outputSchema;
  const compiled = masks.map((mask: Mask, index): CompiledMask => {
    const at = `${option}[${index}]`;
    const path = typeof mask?.path === 'string' ? mask.path.split('.') : mask?.path;
    if (!Array.isArray(path) || path.length === 0 || path.some((name) => typeof name !== 'string' || name === '')) {
      throw new ConfigurationError(`${at}.path`, "expected the members from the root, such as 'customer.iban'");
    }
    const { with: replacement = '***' } = mask;
    if (replacement !== '***' && replacement !== 'remove' && typeof replacement !== 'function') {
      throw new ConfigurationError(`${at}.with`, "expected '***', 'remove' or a function");
    }
    const next = loosened(schema, path, typeof replacement === 'function' ? 'any' : replacement);
    if (next === undefined) throw new ConfigurationError(`${at}.path`, `the output schema has no '${path.join('.')}'`);
    schema = next;
    return { path: [...path], unless: new AccessPolicy(mask.unless, `${at}.unless`), with: replacement };
  });
  return { masks: compiled, schema };
}

/** A copy of the value with these fields masked. */
export function masked(value: JsonObject, masks: readonly CompiledMask[]): JsonObject {
  // Through JSON: what is masked is what would be sent.
  const copy = JSON.parse(JSON.stringify(value)) as JsonObject;
  for (const mask of masks) apply(copy, mask.path, mask.with);
  return copy;
}

function apply(node: unknown, [name, ...rest]: readonly string[], replacement: CompiledMask['with']): void {
  if (Array.isArray(node)) {
    for (const item of node) apply(item, [name as string, ...rest], replacement);
    return;
  }
  if (!isJsonObject(node)) return;
  for (const member of name === '*' ? Object.keys(node) : Object.hasOwn(node, name as string) ? [name as string] : []) {
    if (rest.length > 0) apply(node[member], rest, replacement);
    else if (replacement === 'remove') delete node[member];
    else node[member] = replacement === '***' ? replacement : replacement(node[member] as JsonValue);
  }
}
