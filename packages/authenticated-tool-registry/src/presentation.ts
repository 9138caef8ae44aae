import type { JsonObject } from '@mcp-blocks/core';
import type { Icon } from './content.js';

/** How hosts show an entry to people and models. */
export interface Presentation {
  readonly title?: string;
  readonly description?: string;
  readonly icons?: readonly Icon[];
  readonly _meta?: JsonObject;
}

/** The members of `source` that are set and among `names`, for a definition sent to clients. */
export function pick<T extends object>(source: T, names: readonly (keyof T & string)[]): JsonObject {
  const entries = names.filter((name) => source[name] !== undefined).map((name) => [name, source[name]]);
  // Through JSON: what is listed is what was registered, however the caller's object changes later.
  return JSON.parse(JSON.stringify(Object.fromEntries(entries))) as JsonObject;
}
