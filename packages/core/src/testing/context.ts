import type { Principal } from '../identity.js';
import type { JsonObject } from '../json.js';
import { MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcContext } from '../rpc.js';

/** A principal for tests. */
export function testPrincipal(overrides: Partial<Principal> = {}): Principal {
  return { id: 'alice', authentication: 'test', roles: [], scopes: [], ...overrides };
}

/** A context for calling a handler directly; `notifications` collects what it sent. */
export function testContext(
  overrides: Partial<RpcContext> = {},
): RpcContext & { readonly notifications: { method: string; params: JsonObject }[] } {
  const notifications: { method: string; params: JsonObject }[] = [];
  return {
    principal: testPrincipal(),
    transport: 'memory',
    protocolVersion: MODERN_PROTOCOL_VERSION,
    signal: new AbortController().signal,
    notify: (method, params) => {
      notifications.push({ method, params });
      return Promise.resolve();
    },
    notifications,
    ...overrides,
  };
}
