import { isJsonObject, isRepeatableMethod, type JsonObject } from '@mcp-blocks/core';

/**
 * What the last `tools/list` said of each tool (`ToolAnnotations`). They are the server's word about
 * itself; a client that does not trust its server gains nothing by lies here, nor does the server.
 */
export class ToolHints {
  readonly #readOnly = new Set<string>();
  readonly #idempotent = new Set<string>();

  /** @param page - a further page of a list already learned from, rather than a whole list. */
  learn(result: JsonObject, page: boolean): void {
    if (!page) this.forget();
    for (const tool of Array.isArray(result.tools) ? result.tools : []) {
      if (!isJsonObject(tool) || typeof tool.name !== 'string') continue;
      const hints = isJsonObject(tool.annotations) ? tool.annotations : {};
      if (hints.readOnlyHint === true) this.#readOnly.add(tool.name);
      if (hints.idempotentHint === true) this.#idempotent.add(tool.name);
    }
  }

  forget(): void {
    this.#readOnly.clear();
    this.#idempotent.clear();
  }

  isReadOnly(name: unknown): boolean {
    return typeof name === 'string' && this.#readOnly.has(name);
  }

  /** Whether a request may be sent again when nobody knows if it was carried out. */
  mayRepeat(method: string, params: JsonObject): boolean {
    if (method !== 'tools/call') return isRepeatableMethod(method);
    return this.isReadOnly(params.name) || (typeof params.name === 'string' && this.#idempotent.has(params.name));
  }
}
