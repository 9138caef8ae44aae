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

/** @param within - what encloses `value`, outermost first. */
function write(value: unknown, within: unknown[]): string {
  if (typeof value === 'object' && value !== null) {
    if (within.includes(value)) throw new TypeError('A cyclic value is not JSON');
    within.push(value);
    const text = Array.isArray(value) ? `[${value.map((item) => write(item, within)).join(',')}]` : `{${members(value, within)}}`;
    within.pop();
    return text;
  }
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  throw new TypeError(`${typeof value === 'number' ? String(value) : typeof value} is not a JSON value`);
}

function members(value: object, within: unknown[]): string {
  let text = '';
  // RFC 8785 sorts by UTF-16 code units, which is how JavaScript sorts strings.
  for (const name of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[name];
    if (member !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${write(member, within)}`;
  }
  return text;
}
