import type { JsonObject } from '@mcp-blocks/core';

/** Bounds of what a caller may send as arguments. */
export interface ArgumentBounds {
  /** Size as UTF-8 JSON text. */
  readonly maxArgumentBytes: number;
  /** Nesting of objects and arrays, the arguments object being 1. */
  readonly maxArgumentDepth: number;
}

/** What is wrong with what a person or a model answered, as with arguments; its size is the message's. */
export function badResponses(responses: JsonObject, bounds: ArgumentBounds): string | undefined {
  return outOfBounds(responses, { ...bounds, maxArgumentBytes: Number.POSITIVE_INFINITY }, 'inputResponses');
}

/**
 * The first bound the arguments break, as a line naming the path, or `undefined`. Also refuses members
 * named `__proto__`, and `prototype` within `constructor`: code that merges them into another object would
 * change its prototype, or that of every object.
 *
 * @param name - what they are called in the line.
 */
export function outOfBounds(args: JsonObject, bounds: ArgumentBounds, name = 'arguments'): string | undefined {
  const problem = badStructure(args, name, bounds.maxArgumentDepth);
  if (problem === TOO_DEEP) return `${name}: nested too deep`;
  return problem ?? badSize(args, bounds.maxArgumentBytes, name);
}

const TOO_DEEP = Symbol('too deep');

function badStructure(value: unknown, path: string, depthLeft: number): string | typeof TOO_DEEP | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depthLeft === 0) return TOO_DEEP;
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
    if (key === 'constructor' && Object.hasOwn(child, 'prototype')) return `${path}.constructor.prototype: this name is not accepted`;
    const problem = badStructure(child, `${path}.${key}`, depthLeft - 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function badSize(args: JsonObject, maxBytes: number, name: string): string | undefined {
  const text = JSON.stringify(args);
  // A UTF-16 unit takes one to three bytes in UTF-8, so most sizes are clear without encoding.
  if (text.length * 3 <= maxBytes) return undefined;
  if (text.length <= maxBytes && new TextEncoder().encode(text).length <= maxBytes) return undefined;
  return `${name}: larger than ${maxBytes} bytes`;
}
