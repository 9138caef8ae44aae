import { RpcError } from '@mcp-blocks/core';

/** The error of a trail that a sink does not continue, because a crash does not explain its state. */
export function damaged(path: string, what: string): RpcError {
  return new RpcError(
    'internal_error',
    `The audit trail '${path}' is damaged: ${what}. Keep it as evidence, look at it with 'mcp-audit verify', and start a new one`,
  );
}
