import { compose, RpcError, type RpcHandler, type RpcRequest } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { expect } from 'vitest';
import { RateLimitedRPC, type RateLimitedRpcOptions } from '../src/index.js';

export const alice = testContext({ principal: testPrincipal({ id: 'alice' }) });
export const bob = testContext({ principal: testPrincipal({ id: 'bob' }) });
export const call = (name: string): RpcRequest => ({ method: 'tools/call', params: { name } });
export const list: RpcRequest = { method: 'tools/list', params: {} };

export function limited(options: RateLimitedRpcOptions, handler: RpcHandler = async () => ({ ok: true })) {
  const calls: RpcRequest[] = [];
  const limiter = new RateLimitedRPC(options);
  const handle = compose(
    (request, context) => {
      calls.push(request);
      return handler(request, context);
    },
    [limiter.middleware],
  );
  return { limiter, calls, handle };
}

export async function refused(attempt: Promise<unknown>, code = 'rate_limited'): Promise<RpcError> {
  try {
    await attempt;
  } catch (error) {
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ code });
    return error as RpcError;
  }
  throw new Error('expected the call to be refused');
}
