export type { AccessListEntry } from './access-list.js';
export type { LimitUse, LimitVerdict } from './algorithms/limiter.js';
export type { RateLimitDimension, RateLimitDimensions } from './key.js';
export type { LimitAlgorithm, LimitCharge, LimitCounters, LimitOutcome, LimitRule, LimitStore, PaidCharge } from './limit-store.js';
export type { ConcurrencyLimit, RateLimit, RateLimitCost, RateLimitedRpcOptions, RateLimitKey, RequestLimit } from './options.js';
export { RateLimitedRPC, type RateLimitMetrics, type RateLimitStatus, type RateLimitSubject } from './rate-limited-rpc.js';
