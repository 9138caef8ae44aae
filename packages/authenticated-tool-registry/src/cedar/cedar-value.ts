import type { CedarValueJson } from '@cedar-policy/cedar-wasm/nodejs';

/** Keys by which Cedar's JSON names entities and extension values. In a caller's data they would be taken for such. */
const ESCAPES: readonly string[] = ['__entity', '__extn', '__expr'];

/**
 * JSON as a Cedar value. Cedar has no null and no fractions: members that are null are left out, numbers
 * that are no integers of 64 bits become strings. A list becomes a set.
 *
 * @throws Error for an object that Cedar would take for an entity or an extension value, and for a null in a list.
 */
export function cedarValue(value: unknown): CedarValueJson {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : String(value);
  if (Array.isArray(value)) {
    if (value.includes(null)) throw new Error('Cedar has no null');
    return value.map(cedarValue);
  }
  if (typeof value !== 'object' || value === null) throw new Error(`Cedar has no ${value === null ? 'null' : typeof value}`);
  const members = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
  for (const [key] of members) if (ESCAPES.includes(key)) throw new Error(`a member named ${key} cannot be given to Cedar`);
  return Object.fromEntries(members.map(([key, member]) => [key, cedarValue(member)]));
}
