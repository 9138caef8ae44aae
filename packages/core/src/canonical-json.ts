import type { JsonValue } from './json.js';

/**
 * The one text of a JSON value: members sorted by name, no white space, members set to `undefined`
 * dropped (RFC 8785). Two values are equal exactly when their texts are.
 *
 * @throws TypeError for what JSON has no text for: `undefined`, functions, symbols, bigints, NaN,
 * infinities, cycles.
 */
export function canonicalJson(value: JsonValue): string {
  return write(value, []);
}

function write(value: unknown, within: readonly unknown[]): string {
  if (typeof value === 'object' && value !== null) {
    if (within.includes(value)) throw new TypeError('A cyclic value is not JSON');
    const path = [...within, value];
    if (Array.isArray(value)) return `[${value.map((item) => write(item, path)).join(',')}]`;
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    // RFC 8785 sorts by UTF-16 code units, which is how JavaScript compares strings.
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${write(member, path)}`).join(',')}}`;
  }
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  throw new TypeError(`${typeof value === 'number' ? String(value) : typeof value} is not a JSON value`);
}
