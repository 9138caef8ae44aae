import { createHash, randomUUID } from 'node:crypto';
import { isJsonObject, isRepeatableMethod, META, principalKey, type RpcRequest } from '@mcp-blocks/core';
import type { RouteOptions } from './router.js';

/** Whether a request has a key that makes a node deduplicate it. */
export function hasKey({ method, params }: RpcRequest): boolean {
  return !isRepeatableMethod(method) && isJsonObject(params._meta) && params._meta[META.idempotencyKey] !== undefined;
}

/** The request with a key of its own: one for all the nodes it may be sent to. */
export function withKey(request: RpcRequest): RpcRequest {
  return withMeta(request, META.idempotencyKey, randomUUID());
}

/**
 * The request with the scope of its key. To the nodes all callers may be one, the cluster; their keys still
 * must not meet. What an outer gateway said of its callers is part of it.
 */
export function withScope(request: RpcRequest, { context, userId }: RouteOptions): RpcRequest {
  if (!hasKey(request) || (context === undefined && userId === undefined)) return request;
  const caller = context === undefined ? JSON.stringify(['user', userId]) : principalKey(context.principal);
  const outer = (request.params._meta as { [name: string]: unknown })[META.idempotencyScope];
  const scope = createHash('sha256')
    .update(JSON.stringify([caller, outer ?? null]))
    .digest('base64url');
  return withMeta(request, META.idempotencyScope, scope);
}

function withMeta({ method, params }: RpcRequest, name: string, value: string): RpcRequest {
  return { method, params: { ...params, _meta: { ...(isJsonObject(params._meta) ? params._meta : {}), [name]: value } } };
}
