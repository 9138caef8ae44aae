/** A deep copy of a JSON value: several times as fast as `structuredClone`, which knows more kinds of values. */
export function copyJson<T>(value: T): T {
  return (typeof value === 'object' && value !== null ? copyObject(value) : value) as T;
}

function copyObject(value: object): object {
  if (Array.isArray(value)) return value.map(copyJson);
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const member = (value as Record<string, unknown>)[key];
    const own = typeof member === 'object' && member !== null ? copyObject(member) : member;
    // Assigned, it would set the prototype.
    if (key === '__proto__') Object.defineProperty(copy, key, { value: own, enumerable: true, writable: true, configurable: true });
    else copy[key] = own;
  }
  return copy;
}
