export type { RateLimit, RateLimitedRpcOptions, RateLimitKey } from './options.js';
export { RateLimitedRPC, type RateLimitMetrics, type RateLimitStatus, type RateLimitSubject } from './rate-limited-rpc.js';
