import { type JsonObject, MemoryAuditSink, type RpcContext, RpcError, type RpcErrorCode, type RpcResult } from '@mcp-blocks/core';
import { ManualClock, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { AuthenticatedToolRegistry, type AuthenticatedToolRegistryOptions } from '../src/index.js';

/** A registry whose audit events, unexpected errors and clock the test holds. */
export function setUp(options: Partial<AuthenticatedToolRegistryOptions> = {}) {
  const audit = new MemoryAuditSink();
  const clock = new ManualClock();
  const errors: Error[] = [];
  const registry = new AuthenticatedToolRegistry({
    name: 'orders',
    version: '1.0.0',
    audit,
    clock,
    onError: (error) => errors.push(error),
    ...options,
  });
  return { registry, audit, clock, errors, ask: asking(registry) };
}

/** Calls a registry's handler. */
export function asking(registry: AuthenticatedToolRegistry) {
  return (method: string, params: JsonObject = {}, context: RpcContext = testContext()): Promise<RpcResult> =>
    registry.handler({ method, params }, context);
}

/** A context with this principal. */
export function as(overrides: Parameters<typeof testPrincipal>[0], context: Partial<RpcContext> = {}) {
  return testContext({ ...context, principal: testPrincipal(overrides) });
}

/** The text of a result's first block. */
export function textOf(result: RpcResult): string {
  return (result.content as { text: string }[])[0]!.text;
}

/** The RpcError a promise rejects with; fails when it does not. */
export async function refusal(promise: Promise<unknown>): Promise<{ code: RpcErrorCode; message: string; error: RpcError }> {
  const error = await promise.then(
    (value) => {
      throw new Error(`resolved with ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof RpcError)) throw error;
  return { code: error.code, message: error.message, error };
}
