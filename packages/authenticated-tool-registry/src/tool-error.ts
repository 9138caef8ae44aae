const BRAND = Symbol.for('mcp-blocks.ToolError');

/**
 * A tool's failure whose message is meant for the model: "Order 17 is already shipped". The caller gets
 * a result with `isError: true` and this text (MCP 2026-07-28, server/tools, "Error Handling"). The
 * message of any other error stays on the server.
 */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly code = 'tool_error';

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** True for any {@link ToolError}, also one made by another copy of this package. */
export function isToolError(value: unknown): value is ToolError {
  return value instanceof Error && (value as { [BRAND]?: boolean })[BRAND] === true;
}
