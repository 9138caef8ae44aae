import { isJsonObject, isRepeatableMethod, type JsonObject, type RpcRequest, type RpcResult } from '@mcp-blocks/core';

interface ToolFacts {
  readonly inputSchema: JsonObject | undefined;
  readonly repeatable: boolean;
}

const MAX_TOOLS = 10_000;

/** Remembers what `tools/list` results that pass say of each tool: its schema, and whether a call may be repeated. */
export class ToolCatalog {
  readonly #tools = new Map<string, ToolFacts>();

  /** Takes note of a result, if it is one that lists tools. */
  learn(method: string, result: RpcResult): void {
    if (method !== 'tools/list' || !Array.isArray(result.tools)) return;
    for (const tool of result.tools) {
      if (!isJsonObject(tool) || typeof tool.name !== 'string') continue;
      const hints = isJsonObject(tool.annotations) ? tool.annotations : {};
      this.#tools.delete(tool.name);
      this.#tools.set(tool.name, {
        inputSchema: isJsonObject(tool.inputSchema) ? tool.inputSchema : undefined,
        repeatable: hints.readOnlyHint === true || hints.idempotentHint === true,
      });
    }
    for (const name of this.#tools.keys()) {
      if (this.#tools.size <= MAX_TOOLS) break;
      this.#tools.delete(name);
    }
  }

  inputSchema(name: unknown): JsonObject | undefined {
    return typeof name === 'string' ? this.#tools.get(name)?.inputSchema : undefined;
  }

  /**
   * Whether sending the request twice has the effect of sending it once. `undefined`: it calls a tool that
   * no list has named yet.
   */
  isRepeatable({ method, params }: RpcRequest): boolean | undefined {
    if (isRepeatableMethod(method)) return true;
    if (method !== 'tools/call' || typeof params.name !== 'string') return false;
    return this.#tools.get(params.name)?.repeatable;
  }
}
