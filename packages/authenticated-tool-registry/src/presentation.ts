import { ConfigurationError, type JsonObject, META } from '@mcp-blocks/core';
import type { Icon } from './content.js';

/** How hosts show an entry to people and models. */
export interface Presentation {
  readonly title?: string;
  readonly description?: string;
  readonly icons?: readonly Icon[];
  readonly _meta?: JsonObject;
  /**
   * The entry's version, a non-empty string such as `'2.1.0'`: shown to clients as `_meta['io.mcp-blocks/version']`
   * of the listed entry, recorded with each change of the registration, and otherwise of no effect. Default: none.
   */
  readonly version?: string;
}

/**
 * The members of `definition` that clients see.
 *
 * @throws ConfigurationError for a version that is not a non-empty string.
 */
export function presented<T extends Presentation>(definition: T, names: readonly (keyof T & string)[], at: string): JsonObject {
  const { version, _meta } = definition;
  const shown = pick(definition, names);
  if (version === undefined) return { ...shown, ...pick(definition, ['_meta']) };
  if (typeof version !== 'string' || version === '')
    throw new ConfigurationError(`${at}.version`, `expected a non-empty string, got ${JSON.stringify(version)}`);
  return { ...shown, ...pick({ _meta: { ..._meta, [META.version]: version } }, ['_meta']) };
}

/** The members of `source` that are set and among `names`, for a definition sent to clients. */
export function pick<T extends object>(source: T, names: readonly (keyof T & string)[]): JsonObject {
  const entries = names.filter((name) => source[name] !== undefined).map((name) => [name, source[name]]);
  // Through JSON: what is listed is what was registered, however the caller's object changes later.
  return JSON.parse(JSON.stringify(Object.fromEntries(entries))) as JsonObject;
}
