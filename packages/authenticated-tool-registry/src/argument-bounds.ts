import type { JsonObject } from '@mcp-blocks/core';

/** Bounds of what a caller may send as arguments. */
export interface ArgumentBounds {
  /** Size as UTF-8 JSON text. */
  readonly maxArgumentBytes: number;
  /** Nesting of objects and arrays, the arguments object being 1. */
  readonly maxArgumentDepth: number;
}

/**
 * The first bound the arguments break, as a line naming the path, or `undefined`. Also refuses members
 * named `__proto__`: code that copies them into another object would change its prototype.
 */
export function outOfBounds(args: JsonObject, bounds: ArgumentBounds): string | undefined {
  return badStructure(args, 'arguments', bounds.maxArgumentDepth) ?? badSize(args, bounds.maxArgumentBytes);
}

function badStructure(value: unknown, path: string, depthLeft: number): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depthLeft === 0) return 'arguments: nested too deep';
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const problem = badStructure(value[index], `${path}[]`, depthLeft - 1);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  for (const key of Object.keys(value)) {
    if (key === '__proto__') return `${path}.__proto__: this name is not accepted`;
    const child = (value as Record<string, unknown>)[key];
    if (typeof child !== 'object' || child === null) continue;
    const problem = badStructure(child, `${path}.${key}`, depthLeft - 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function badSize(args: JsonObject, maxBytes: number): string | undefined {
  const text = JSON.stringify(args);
  // A UTF-16 unit takes one to three bytes in UTF-8, so most sizes are clear without encoding.
  if (text.length * 3 <= maxBytes) return undefined;
  if (text.length <= maxBytes && new TextEncoder().encode(text).length <= maxBytes) return undefined;
  return `arguments: larger than ${maxBytes} bytes`;
}
