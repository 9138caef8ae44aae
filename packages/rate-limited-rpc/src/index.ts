export type { RetryBudgetOptions } from '@mcp-blocks/core';
export type { AccessListEntry } from './access-list.js';
export type { LimitUse, LimitVerdict } from './algorithms/limiter.js';
export {
  type BatchItem,
  type BatchResult,
  type CallOptions,
  type RetryOptions,
  RpcCaller,
  type RpcCallerOptions,
  type RpcConnection,
} from './caller/rpc-caller.js';
export type { RateLimitDimension, RateLimitDimensions } from './key.js';
export { type FetchIdentity, type LimitFetchOptions, limitFetch } from './limit-fetch.js';
export type { LimitAlgorithm, LimitCharge, LimitCounters, LimitOutcome, LimitRule, LimitStore, PaidCharge } from './limit-store.js';
export type { ConcurrencyLimit, RateLimit, RateLimitCost, RateLimitedRpcOptions, RateLimitKey, RequestLimit } from './options.js';
export { RateLimitedRPC, type RateLimitMetrics, type RateLimitStatus, type RateLimitSubject } from './rate-limited-rpc.js';
export type { LimitSlots, SlotClaim, SlotOutcome, SlotRule } from './slots.js';
